"""How surprised a model is by the last tokens of a window: token ids in, nats out, a block of logits at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nextword.decoding.surprisals import surprisals
from nextword.inference.backend import Backend, Chunk

_BLOCK_POSITIONS = 256
"""Positions whose logits are held at once: 48 MiB for a vocabulary of 49,152, however long the window."""


def score_window(backend: Backend, token_ids: Sequence[int], *, num_scored: int) -> npt.NDArray[np.float64]:
    """The surprisal, in nats, of each of the last `num_scored` tokens: (num_scored,) float64.

    The first token of a window cannot be among them.
    """
    first_scored = len(token_ids) - num_scored
    cache_id = backend.open_cache()
    try:
        if first_scored > 1:
            backend.step([Chunk(cache_id, token_ids[: first_scored - 1], 0)])
        blocks = [
            _score_block(backend, cache_id, token_ids[start : start + _BLOCK_POSITIONS + 1])
            for start in range(first_scored - 1, len(token_ids) - 1, _BLOCK_POSITIONS)
        ]
    finally:
        backend.close_cache(cache_id)
    return np.concatenate(blocks)


def _score_block(backend: Backend, cache_id: int, token_ids: Sequence[int]) -> npt.NDArray[np.float64]:
    """Surprisals of all tokens but the first, which stands before them."""
    (logits,) = backend.step([Chunk(cache_id, token_ids[:-1], len(token_ids) - 1)])
    return surprisals(logits, token_ids[1:])
