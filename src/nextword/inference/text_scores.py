"""`score_text`: scores of all tokens of one text but the first; token ids in, surprisal, entropy and rank out."""

from __future__ import annotations

from collections.abc import Sequence

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
    fields = ("nats", "entropies", "ranks", "largest")
    return TokenScores(*(np.concatenate([getattr(one, name) for one in found]) for name in fields))
