"""`scored_tokens`: a text in; out, its tokens in order, each with its scores, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from nextword.errors import RequestError
from nextword.evaluation.scoring.batches import batches, score_batch
from nextword.evaluation.scoring.windows import Window, sliding_windows
from nextword.inference.engine import Engine
from nextword.text.encode_pieces import encode_pieces
from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ScoredToken:
    """A token of a text with its scores; None for a token without context."""

    token_id: int
    data: bytes
    """Its bytes of the text in UTF-8; perhaps part of a character."""
    nats: float | None = None
    """Surprisal: -ln of its probability."""
    entropy: float | None = None
    """Entropy in nats of the distribution that the model predicted for it."""
    rank: int | None = None
    """Its rank among all tokens by probability; 1 for the most probable."""


def scored_tokens(engine: Engine, pieces: Iterable[str], *, context: int | None = None) -> Iterator[ScoredToken]:
    """Score the tokens of a text that comes in pieces, each with at least half of the context, once there is so much.

    `context`: tokens of a window; None: the model's context. Raises RequestError for a context out of range.
    """
    windows = overlapping_windows(engine, pieces, context=context)
    for batch in batches(windows, lambda window: window):
        for window, scores in zip(batch, score_batch(engine, batch), strict=True):
            yield from unscored_tokens(window, engine.tokenizer)
            for index, (token_id, data) in enumerate(scored_data(window, engine.tokenizer)):
                yield ScoredToken(
                    token_id,
                    data,
                    float(scores.nats[index]),
                    float(scores.entropies[index]),
                    int(scores.ranks[index]),
                )


def overlapping_windows(engine: Engine, pieces: Iterable[str], *, context: int | None) -> Iterator[Window]:
    """Cut sliding windows whose first half, but in the first window, is context. Raises RequestError as above."""
    limit = engine.backend.max_seq_len
    if context is not None and not 3 <= context <= limit:
        raise RequestError(f"context = {context}: from 3 to the {limit} tokens that the model attends to")
    context = limit if context is None else context
    token_ids = chain.from_iterable(encode_pieces(engine.tokenizer, pieces))
    num_before = len(engine.tokenizer.prefix_token_ids)
    return sliding_windows(token_ids, context=context, stride=context // 2, num_before=num_before)


def unscored_tokens(window: Window, tokenizer: Tokenizer) -> Iterator[ScoredToken]:
    """Yield the first token of a text, which has no context; BOS is no part of the text."""
    if window.start == 0 and not tokenizer.prefix_token_ids:
        token_id = window.token_ids[0]
        yield ScoredToken(token_id, tokenizer.token_bytes(token_id, begins_text=True))


def scored_data(window: Window, tokenizer: Tokenizer) -> Iterator[tuple[int, bytes]]:
    """Yield the scored tokens of a window, each with its bytes of the text."""
    num_before = len(tokenizer.prefix_token_ids)
    for position, token_id in enumerate(window.scored, window.start + window.num_context):
        yield token_id, tokenizer.token_bytes(token_id, begins_text=position == num_before)
