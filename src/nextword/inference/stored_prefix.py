"""`store_prefix`: compute a prompt piece by piece for those who need it soon, and let others run between the pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nextword.inference.backend import Chunk
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine


def store_prefix(engine: Engine, prompt: Sequence[int], *, adapter: str | None = None) -> Iterator[None]:
    """Compute a prompt up to its last piece, and yield after each: pieces have as many tokens as the prompts of a step.

    The backend keeps them as a stored prefix, with which the caches of the same prompt then begin; it changes no
    figure. Ends early where the backend stores none, or has given their memory to others in the meantime.
    """
    if len(prompt) > engine.backend.max_seq_len:
        return
    stored = 0
    while True:
        yield from engine.room(whole_pages(len(prompt)))
        with engine.reserve(whole_pages(len(prompt))) as backend:
            most, cache_id = engine.prefill_limit, backend.open_cache(prompt, adapter=adapter)
            try:
                start = backend.cache_length(cache_id)
                if start < stored or len(prompt) - start <= most:
                    return
                backend.step([Chunk(cache_id, prompt[start : start + most], 0)])
            finally:
                backend.close_cache(cache_id)
        stored = start + most
        yield
