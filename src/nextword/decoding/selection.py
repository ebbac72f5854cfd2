"""Selection over a vocabulary without sorting it: the k largest, the smallest set with a given mass, the draw.

In: numpy vectors over the tokens. Out: positions in them, ascending. Equal keys are decided by the lower position.
Masses are whole numbers held in floats (see `distribution.py`), so sums are exact in whatever order they are formed and
each function gives exactly what sorting everything would give. Knows nothing of temperatures, tokens or parameters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.float32] | NDArray[np.float64]
Positions = NDArray[np.intp]

SORTED_AT_ONCE = 2048
"""Up to about this many keys a sort costs less than the passes that would avoid it."""

BINS = 2048
"""Of the histogram over keys: few enough for the cache, many enough to leave some hundred keys in the crossing bin."""

GROUPS_PER_WANTED = 16
"""Groups for each of the k wanted: enough that few groups hold two of the k largest, so that the bound is close."""


def largest(keys: Keys, k: int) -> Positions:
    """Positions of the k largest keys, ascending; of equal keys the lower position. All of them if k >= len(keys)."""
    if k >= len(keys):
        return np.arange(len(keys))
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


def smallest_set(keys: Keys, masses: Keys, wanted: float) -> Positions:
    """Positions of the smallest set of largest keys whose mass is at least `wanted`, the crossing key included.

    A histogram of mass over the key finds the bin in which `wanted` is crossed; only that bin is looked into further.

    Args:
        keys: finite, the order of preference: largest first, of equal ones the lower position.
        masses: whole numbers >= 0, in total less than 2**53.
        wanted: 0 < wanted <= the total mass.
    """
    if len(keys) <= SORTED_AT_ONCE:
        return _smallest_set_by_sorting(keys, masses, wanted)
    highest = keys.max()
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        bins_per_unit = (BINS - 1) / (highest - keys.min())
    if (
        not 0 < bins_per_unit < np.inf
    ):  # all equal, or so far apart or close together that the width over- or underflows
        return _smallest_set_by_sorting(keys, masses, wanted)
    bins = ((highest - keys) * bins_per_unit).astype(np.int32)
    cumulated = np.bincount(bins, weights=masses, minlength=BINS).cumsum()
    crossing = int(np.searchsorted(cumulated, wanted))
    inside = np.flatnonzero(bins == crossing)
    before = cumulated[crossing - 1] if crossing else 0.0
    if len(inside) == len(keys):
        return _smallest_set_by_sorting(keys, masses, wanted)
    kept = bins < crossing
    kept[inside[smallest_set(keys[inside], masses[inside], wanted - before)]] = True
    return np.flatnonzero(kept)


def _smallest_set_by_sorting(keys: Keys, masses: Keys, wanted: float) -> Positions:
    """The same by a sort (of any kind: only the key at the crossing is taken from it, its ties are counted apart)."""
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
    start, below = 0, 0.0
    block_size = 512
    if len(masses) > 2 * block_size:
        whole = len(masses) - len(masses) % block_size
        blocks = masses[:whole].reshape(-1, block_size).sum(axis=1, dtype=np.float64).cumsum()
        block = int(np.searchsorted(blocks, target, side="right"))
        start, below = block * block_size, blocks[block - 1] if block else 0.0
    cumulated = below + masses[start : start + block_size * 2].cumsum(dtype=np.float64)
    return start + int(np.searchsorted(cumulated, target, side="right"))
