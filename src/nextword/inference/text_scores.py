"""`score_text`: scores of all tokens of one text but the first; token ids in, surprisal, entropy and rank out.

`score_in_pieces` lets others run the engine in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nextword.inference.backend import Chunk, TokenScores
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine
from nextword.inference.prefill import PREFILL_CHUNK


def score_text(engine: Engine, token_ids: Sequence[int], *, adapter: str | None = None) -> TokenScores:
    """Return the scores of `token_ids[1:]`, each given all tokens before it; every field is (n - 1,).

    The tokens must be the model's, two at least. Raises RequestError for more than its context or its cache.
    """
    inputs, targets = token_ids[:-1], token_ids[1:]
    found = []
    with engine.reserve(whole_pages(len(inputs)), remedy="shorten the text") as backend:
        cache_id = backend.open_cache((), adapter=adapter)
        try:
            for start in range(0, len(inputs), PREFILL_CHUNK):
                part = slice(start, start + PREFILL_CHUNK)
                chunk = Chunk(cache_id, inputs[part], len(inputs[part]))
                found += backend.score([chunk], [targets[part]])
        finally:
            backend.close_cache(cache_id)
    return joined(found)


def score_in_pieces(
    engine: Engine, token_ids: Sequence[int], *, adapter: str | None = None
) -> Iterator[TokenScores | None]:
    """Yield the scores of `score_text` part by part, bit for bit, and None while others have the memory that it needs.

    A part has as many tokens as the prompts of a step, on a backend whose rounding does not depend on that.
    """
    if not engine.backend.is_batch_invariant:
        yield score_text(engine, token_ids, adapter=adapter)
        return
    num_inputs, done = len(token_ids) - 1, 0
    while done < num_inputs:
        end = min(done + engine.prefill_limit, num_inputs)
        yield from engine.room(whole_pages(end))
        with engine.reserve(whole_pages(end), remedy="shorten the text") as backend:
            cache_id = backend.open_cache(token_ids[: done + 1], adapter=adapter)
            try:
                chunk = Chunk(cache_id, token_ids[backend.cache_length(cache_id) : end], end - done)
                (scores,) = backend.score([chunk], [token_ids[done + 1 : end + 1]])
            finally:
                backend.close_cache(cache_id)
        yield scores
        done = end


def joined(parts: Sequence[TokenScores]) -> TokenScores:
    """Return the scores of parts of a text as those of the whole."""
    fields = ("nats", "entropies", "ranks", "largest")
    return TokenScores(*(np.concatenate([getattr(one, name) for one in parts]) for name in fields))
