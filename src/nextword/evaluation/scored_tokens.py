"""`scored_tokens`: a text in, each of its tokens with what the model made of it out, in order, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from nextword.errors import RequestError
from nextword.evaluation.conventions import num_bos
from nextword.evaluation.scoring import batches, score_batch
from nextword.evaluation.windows import Window, sliding_windows
from nextword.inference.backend import Backend
from nextword.text.encode_pieces import encode_pieces
from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ScoredToken:
    """A token of a text. One that nothing stands before has no score."""

    token_id: int
    data: bytes
    """Its part of the text, in UTF-8; maybe a part of a character."""
    nats: float | None = None
    """Surprisal."""
    entropy: float | None = None
    """Of the distribution that the model expected it from, in nats."""
    rank: int | None = None
    """1: no token was more probable."""


def scored_tokens(
    backend: Backend, tokenizer: Tokenizer, pieces: Iterable[str], *, context: int | None = None
) -> Iterator[ScoredToken]:
    """The tokens of a text that comes in pieces, each after at least half of the context, where there is so much.

    `context`: None for the model's. Raises RequestError for a context out of range.
    """
    windows = overlapping_windows(backend, tokenizer, pieces, context=context)
    for batch in batches(windows, lambda window: window):
        for window, scores in zip(batch, score_batch(backend, batch), strict=True):
            yield from unscored_tokens(window, tokenizer)
            for index, (token_id, data) in enumerate(scored_data(window, tokenizer)):
                yield ScoredToken(
                    token_id,
                    data,
                    float(scores.nats[index]),
                    float(scores.entropies[index]),
                    int(scores.ranks[index]),
                )


def overlapping_windows(
    backend: Backend, tokenizer: Tokenizer, pieces: Iterable[str], *, context: int | None
) -> Iterator[Window]:
    """Sliding windows, each half of which is context but in the first. Raises RequestError as `scored_tokens`."""
    if context is not None and not 3 <= context <= backend.max_seq_len:
        raise RequestError(f"context = {context}: from 3 to the {backend.max_seq_len} tokens that the model attends to")
    context = backend.max_seq_len if context is None else context
    token_ids = chain.from_iterable(encode_pieces(tokenizer, pieces))
    return sliding_windows(token_ids, context=context, stride=context // 2)


def unscored_tokens(window: Window, tokenizer: Tokenizer) -> Iterator[ScoredToken]:
    """The first token of a text, which nothing stands before; BOS is no part of it."""
    if window.start == 0 and not num_bos(tokenizer):
        token_id = window.token_ids[0]
        yield ScoredToken(token_id, tokenizer.token_bytes(token_id, begins_text=True))


def scored_data(window: Window, tokenizer: Tokenizer) -> Iterator[tuple[int, bytes]]:
    """The scored tokens of a window, each with its part of the text."""
    first = window.start + len(window.token_ids) - window.num_scored
    for position, token_id in enumerate(window.scored, first):
        yield token_id, tokenizer.token_bytes(token_id, begins_text=position == num_bos(tokenizer))
