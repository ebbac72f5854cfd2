"""Selection over a vocabulary without sorting it: the k largest, the smallest set with a given mass, the draw.

In: numpy vectors over the tokens. Out: positions in them, ascending. Equal keys are decided by the lower position.
Masses are whole numbers held in floats (see `masses.py`), so sums are exact in whatever order they are formed and each
function gives exactly what sorting everything would give. So does native/select, which does the work where it was built
(keys in float64 are left to numpy). Knows nothing of temperatures, tokens or parameters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextword.native import native

Keys = NDArray[np.float32] | NDArray[np.float64]
Positions = NDArray[np.intp]

SORTED_AT_ONCE = 2048
"""Up to about this many keys a sort costs less than the passes that would avoid it."""

BINS = 2048
"""Of the histogram over keys: few enough for the cache, many enough to leave some hundred keys in the crossing bin."""

GUESS_MARGIN = 0.8
"""A guessed cut leaves out this much of the mass that may go: less makes more candidates, more makes more misses."""

GROUPS_PER_WANTED = 16
"""Groups for each of the k wanted: enough that few groups hold two of the k largest, so that the bound is close."""


BLOCK_SIZE = 512
"""Masses summed together before the draw looks into the one block it falls in: near the root of a vocabulary's size."""


def largest(keys: Keys, k: int) -> Positions:
    """Positions of the k largest keys, ascending; of equal keys the lower position. All of them if k >= len(keys)."""
    if k == 0 or k >= len(keys):
        return np.arange(min(k, len(keys)))
    if native is not None and keys.dtype == np.float32:
        found: Positions = native.largest(np.ascontiguousarray(keys), k)
        return found
    return _largest(keys, k)


def _largest(keys: Keys, k: int) -> Positions:
    candidates = np.flatnonzero(keys >= _lower_bound_of_kth(keys, k))
    among = keys[candidates]
    kth = np.partition(among, len(among) - k)[len(among) - k]
    above = among > kth
    tied = np.flatnonzero(among == kth)
    above[tied[: k - np.count_nonzero(above)]] = True
    kept: Positions = candidates[above]
    return kept


def _lower_bound_of_kth(keys: Keys, k: int) -> float:
    """A value that at least k keys reach: the k-th largest of the maxima of disjoint groups of keys."""
    num_groups = GROUPS_PER_WANTED * k
    group_size = len(keys) // num_groups
    if group_size < 2:
        return float(keys.min())
    grouped = keys[: group_size * num_groups].reshape(group_size, num_groups)
    maxima = grouped.max(axis=0)  # one from each group: the rest of the keys can only raise the k-th largest
    return float(np.partition(maxima, num_groups - k)[num_groups - k])


def smallest_set(keys: Keys, masses: Keys, *, wanted: float, total: float) -> Positions:
    """Positions of the smallest set of largest keys whose mass is at least `wanted`, the crossing key included.

    Args:
        keys: finite, the order of preference: largest first, of equal ones the lower position.
        masses: whole numbers >= 0.
        wanted: 0 < wanted <= total.
        total: the sum of the masses, less than 2**53.
    """
    if native is not None and keys.dtype == masses.dtype == np.float32:
        arrays = np.ascontiguousarray(keys), np.ascontiguousarray(masses)
        found: Positions = native.smallest_set(*arrays, wanted, total)
        return found
    return _smallest_set(keys, masses, wanted, total)


def _smallest_set(keys: Keys, masses: Keys, wanted: float, total: float) -> Positions:
    if len(keys) <= SORTED_AT_ONCE:
        return _smallest_set_by_sorting(keys, masses, wanted)
    candidates = np.flatnonzero(keys >= _guessed_lower_bound(keys, masses, spare=total - wanted))
    if len(candidates) > len(keys) // 2:
        return _smallest_set_by_histogram(keys, masses, wanted)
    masses_of_candidates = masses[candidates]
    if masses_of_candidates.sum(dtype=np.float64) < wanted:  # the guess was too high
        return _smallest_set_by_histogram(keys, masses, wanted)
    kept: Positions = candidates[_smallest_set_by_histogram(keys[candidates], masses_of_candidates, wanted)]
    return kept


def _guessed_lower_bound(keys: Keys, masses: Keys, *, spare: float) -> float:
    """A key that the smallest set probably does not go below: in a sample, less than `spare` lies beneath it."""
    stride = max(1, len(keys) // SORTED_AT_ONCE)
    sample = keys[::stride]
    order = np.argsort(sample)
    beneath = masses[::stride][order].cumsum(dtype=np.float64) * stride
    return float(sample[order[np.searchsorted(beneath[:-1], GUESS_MARGIN * spare)]])


def _smallest_set_by_histogram(keys: Keys, masses: Keys, wanted: float) -> Positions:
    """The same by a histogram of mass over the key: only the bin where `wanted` is crossed is looked into further."""
    if len(keys) <= SORTED_AT_ONCE:
        return _smallest_set_by_sorting(keys, masses, wanted)
    highest = keys.max()
    with np.errstate(over="ignore", divide="ignore"):
        bins_per_unit = (BINS - 1) / (highest - keys.min())
    if not 0 < bins_per_unit < np.inf:  # the keys are all equal, or nearly, or their distance overflows
        return _smallest_set_by_sorting(keys, masses, wanted)
    bins = ((highest - keys) * bins_per_unit).astype(np.int32)
    cumulated = np.bincount(bins, weights=masses).cumsum()
    crossing = int(np.searchsorted(cumulated, wanted))
    inside = np.flatnonzero(bins == crossing)
    if len(inside) == len(keys):
        return _smallest_set_by_sorting(keys, masses, wanted)
    before = cumulated[crossing - 1] if crossing else 0.0
    kept = bins < crossing
    kept[inside[_smallest_set_by_histogram(keys[inside], masses[inside], wanted - before)]] = True
    return np.flatnonzero(kept)


def _smallest_set_by_sorting(keys: Keys, masses: Keys, wanted: float) -> Positions:
    """The same by a sort of any kind: only the key at the crossing is taken from it, its ties are counted apart."""
    order = np.argsort(keys)[::-1]
    cumulated = masses[order].cumsum(dtype=np.float64)
    crossing_key = keys[order[np.searchsorted(cumulated, wanted)]]
    kept = keys > crossing_key
    tied = np.flatnonzero(keys == crossing_key)
    missing = wanted - masses[kept].sum(dtype=np.float64)
    kept[tied[: np.searchsorted(masses[tied].cumsum(dtype=np.float64), missing) + 1]] = True
    return np.flatnonzero(kept)


def position_at(masses: Keys, target: int) -> int:
    """The position where the masses, cumulated in ascending position, first exceed `target` (0 <= target < total)."""
    if native is not None and masses.dtype == np.float32:
        return int(native.position_at(np.ascontiguousarray(masses), target))
    return _position_at(masses, target)


def _position_at(masses: Keys, target: int) -> int:
    start, below = 0, 0.0
    if len(masses) > BLOCK_SIZE:
        whole = len(masses) - len(masses) % BLOCK_SIZE
        cumulated = masses[:whole].reshape(-1, BLOCK_SIZE).sum(axis=1, dtype=np.float64).cumsum()
        block = int(np.searchsorted(cumulated, target, side="right"))
        start, below = block * BLOCK_SIZE, cumulated[block - 1] if block else 0.0
    cumulated = below + masses[start : start + BLOCK_SIZE].cumsum(dtype=np.float64)
    return start + int(np.searchsorted(cumulated, target, side="right"))
