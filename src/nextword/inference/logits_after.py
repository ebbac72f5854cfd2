"""`logits_after`: the model's logits at several positions of one text; token ids in, rows of logits out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nextword.inference.backend import Logits
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine
from nextword.inference.prefill import prefill_chunks


def logits_after(
    engine: Engine, token_ids: Sequence[int], lengths: Collection[int], *, adapter: str | None = None
) -> dict[int, Logits]:
    """Return the logits (vocab_size,) after the first tokens of a text, for each of these numbers of first tokens.

    The rows are those that `generate` draws from, bit for bit on the native backend. `lengths`: from 1 to the number of
    tokens. The tokens must be the model's. Raises RequestError for more than its context or its cache.
    """
    first, last = min(lengths), max(lengths)
    found: dict[int, Logits] = {}
    with engine.reserve(whole_pages(last), remedy="shorten the text") as backend:
        cache_id = backend.open_cache(token_ids[:first], adapter=adapter)
        try:
            length = backend.cache_length(cache_id)
            for chunk in prefill_chunks(cache_id, token_ids[:last], length, num_logits=last - first + 1):
                (rows,) = backend.step([chunk])
                length += len(chunk.token_ids)
                places = range(length - chunk.num_logits + 1, length + 1)
                found |= {place: row.copy() for place, row in zip(places, rows, strict=True) if place in lengths}
        finally:
            backend.close_cache(cache_id)
    return found
