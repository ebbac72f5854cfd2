"""Selection over a vocabulary without sorting it: the k largest, the smallest set of a given mass, sampling.

In: numpy vectors over the tokens. Out: positions in them, ascending. Equal keys are decided by the lower position.
Softmax weights are whole numbers held in floats (see `softmax_weights.py`), so sums are exact in any order, and each
function gives exactly what sorting everything would give. So does native/select, which runs where it was built; numpy
runs elsewhere, and for float64 keys. Knows nothing of temperatures, tokens or parameters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextword.native import native

Keys = NDArray[np.float32] | NDArray[np.float64]
Positions = NDArray[np.intp]

BLOCK_SIZE = 512
"""Weights per block: sampling finds the block by block sums first; near the square root of a vocabulary's size."""

_SAMPLE_SIZE = 256
"""Keys from which the pivot is chosen: enough that few passes are needed, few enough to be sorted at once."""


def largest(keys: Keys, k: int) -> Positions:
    """Return the positions of the k largest keys, ascending; all of them if k >= len(keys)."""
    if k == 0 or k >= len(keys):
        return np.arange(min(k, len(keys)))
    if native is not None and keys.dtype == np.float32:
        found: Positions = native.largest(np.ascontiguousarray(keys), k)
        return found
    return _smallest_set(keys, np.ones(len(keys), dtype=np.float32), k)


def smallest_set(keys: Keys, weights: Keys, *, wanted: float, total: float) -> Positions:
    """Return the positions of the smallest set of largest keys that weighs at least `wanted`, ascending.

    Args:
        keys: finite, the order of preference: largest first, of equal ones the lower position.
        weights: whole numbers >= 0.
        wanted: 0 < wanted <= total.
        total: the sum of the weights, less than 2**53.
    """
    if native is not None and keys.dtype == weights.dtype == np.float32:
        arrays = np.ascontiguousarray(keys), np.ascontiguousarray(weights)
        found: Positions = native.smallest_set(*arrays, wanted, total)
        return found
    return _smallest_set(keys, weights, wanted)


def _smallest_set(keys: Keys, weights: Keys, wanted: float) -> Positions:
    """Find it by weighted quickselect: each pass keeps or drops all keys on one side of a pivot."""
    is_kept = np.zeros(len(keys), dtype=np.bool_)
    undecided = np.arange(len(keys))
    while True:
        pivot = _pivot(keys, weights, wanted)
        is_above, is_tied = keys > pivot, keys == pivot
        weight_above = weights[is_above].sum(dtype=np.float64)
        if weight_above >= wanted:
            undecided, keys, weights = undecided[is_above], keys[is_above], weights[is_above]
            continue
        is_kept[undecided[is_above]] = True
        wanted -= weight_above
        tied, cumulated = undecided[is_tied], weights[is_tied].cumsum(dtype=np.float64)
        if cumulated[-1] >= wanted:
            is_kept[tied[: np.searchsorted(cumulated, wanted) + 1]] = True
            return np.flatnonzero(is_kept)
        is_kept[tied] = True
        wanted -= cumulated[-1]
        is_below = keys < pivot
        undecided, keys, weights = undecided[is_below], keys[is_below], weights[is_below]


def _pivot(keys: Keys, weights: Keys, wanted: float) -> float:
    """Return the key at which a sample crosses `wanted`, but none of its outermost: each pass decides some."""
    stride = 1 + len(keys) // _SAMPLE_SIZE
    sample = keys[::stride]
    order = np.argsort(sample)[::-1]
    cumulated = weights[::stride][order].cumsum(dtype=np.float64)
    crossing = int(np.searchsorted(cumulated, wanted / weights.sum(dtype=np.float64) * cumulated[-1]))
    outermost = len(sample) // 16
    return float(sample[order[min(max(crossing, outermost), len(sample) - 1 - outermost)]])


def position_at(weights: Keys, target: int) -> int:
    """Return the position where the weights, cumulated by ascending position, first exceed `target`.

    `target`: 0 <= target < sum of the weights.
    """
    if native is not None and weights.dtype == np.float32:
        return int(native.position_at(np.ascontiguousarray(weights), target))
    return _position_at(weights, target)


def _position_at(weights: Keys, target: int) -> int:
    start, below = 0, 0.0
    if len(weights) > BLOCK_SIZE:
        whole = len(weights) - len(weights) % BLOCK_SIZE
        cumulated = weights[:whole].reshape(-1, BLOCK_SIZE).sum(axis=1, dtype=np.float64).cumsum()
        block = int(np.searchsorted(cumulated, target, side="right"))
        start, below = block * BLOCK_SIZE, cumulated[block - 1] if block else 0.0
    cumulated = below + weights[start : start + BLOCK_SIZE].cumsum(dtype=np.float64)
    return start + int(np.searchsorted(cumulated, target, side="right"))
