"""Prefill: a prompt in, the chunks that fill its KV cache out.

Every prompt is cut at multiples of `PREFILL_CHUNK`, by the engine and by scorers, independent of other sequences:
another cut would round differently. Backends whose rounding does not depend on it (`Backend.is_batch_invariant`) may
get smaller chunks in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nextword.inference.backend import Chunk

PREFILL_CHUNK = 512
"""Maximum number of a prompt's tokens in one step."""


def prefill_chunk(
    cache_id: int, prompt: Sequence[int], start: int, *, num_logits: int, most: int = PREFILL_CHUNK
) -> Chunk:
    """Return the chunk of `prompt` that begins at position `start`, of `most` tokens at most.

    `num_logits`: number of the prompt's last positions whose logits are wanted, 0 to `len(prompt)`.
    """
    end = min((start // PREFILL_CHUNK + 1) * PREFILL_CHUNK, start + most, len(prompt))
    num_wanted = num_logits - (len(prompt) - end)
    return Chunk(cache_id, prompt[start:end], min(max(num_wanted, 0), end - start))


def prefill_chunks(cache_id: int, prompt: Sequence[int], start: int, *, num_logits: int) -> Iterator[Chunk]:
    """Yield the chunks of `prompt` from position `start` to its end, as `prefill_chunk` cuts them."""
    while start < len(prompt):
        chunk = prefill_chunk(cache_id, prompt, start, num_logits=num_logits)
        yield chunk
        start += len(chunk.token_ids)
