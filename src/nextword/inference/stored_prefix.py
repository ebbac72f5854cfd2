"""`store_prefix`: compute a prompt piece by piece for those who need it soon, and let others run between the pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine
from nextword.inference.prefill import PREFILL_CHUNK, prefill_chunk


def store_prefix(engine: Engine, prompt: Sequence[int], *, adapter: str | None = None) -> Iterator[None]:
    """Compute the whole chunks of a prompt that stand before its last one, and yield after each.

    The backend keeps them as a stored prefix, with which the caches of the same prompt then begin; it changes no
    figure. Ends early where the backend stores none, or has given their memory to others in the meantime.
    """
    if len(prompt) > engine.backend.max_seq_len:
        return
    for end in range(PREFILL_CHUNK, len(prompt), PREFILL_CHUNK):
        with engine.reserve(whole_pages(end)) as backend:
            cache_id = backend.open_cache(prompt[:end], adapter=adapter)
            try:
                start = backend.cache_length(cache_id)
                if start < end - PREFILL_CHUNK:
                    return
                backend.step([prefill_chunk(cache_id, prompt[:end], start, num_logits=0)])
            finally:
                backend.close_cache(cache_id)
        yield
