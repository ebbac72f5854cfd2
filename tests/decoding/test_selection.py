from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.selection import BLOCK_SIZE, SORTED_AT_ONCE, largest, position_at, smallest_set
from tests.decoding import oracle

SIZES = st.sampled_from([1, 2, 7, 100, BLOCK_SIZE + 1, SORTED_AT_ONCE, SORTED_AT_ONCE + 1, 5000])
KINDS = st.sampled_from([kind for kind in oracle.ROW_KINDS if kind != "mostly removed"])
SEEDS = st.integers(0, 2**32 - 1)


def keys_and_masses(seed: int, size: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Keys of a kind, with masses that have nothing to do with them, many of them 0."""
    rng = np.random.default_rng(seed)
    masses = np.rint(np.exp2(rng.uniform(-20, 34, size=size))).astype(np.float32)
    masses[rng.integers(size)] = 1.0
    return oracle.rows_of_logits(rng, size)[kind], masses


@given(SEEDS, SIZES, KINDS, st.integers(0, 300))
@settings(max_examples=150, deadline=None)
def test_largest_equals_sorting(seed: int, size: int, kind: str, k: int) -> None:
    keys, _ = keys_and_masses(seed, size, kind)
    assert largest(keys, k).tolist() == oracle.largest(keys, k)


@given(SEEDS, SIZES, KINDS, st.floats(0, 1, exclude_min=True))
@settings(max_examples=200, deadline=None)
def test_smallest_set_equals_sorting(seed: int, size: int, kind: str, share: float) -> None:
    keys, masses = keys_and_masses(seed, size, kind)
    total = float(masses.sum(dtype=np.float64))
    found = smallest_set(keys, masses, wanted=share * total, total=total)
    assert found.tolist() == oracle.smallest_set(keys, masses, share * total)


@given(SEEDS, KINDS, st.sampled_from([1e-9, 0.5, 0.9, 0.999999, 1 - 2**-53]))
@settings(max_examples=60, deadline=None)
def test_smallest_set_equals_sorting_when_mass_grows_with_the_key(seed: int, kind: str, share: float) -> None:
    keys, _ = keys_and_masses(seed, 6000, kind)
    masses = np.rint(oracle.softmax(keys) / oracle.softmax(keys).max() * 2**37).astype(np.float32)
    total = float(masses.sum(dtype=np.float64))
    found = smallest_set(keys, masses, wanted=share * total, total=total)
    assert found.tolist() == oracle.smallest_set(keys, masses, share * total)


@given(SEEDS, SIZES, st.floats(0, 1, exclude_max=True))
@settings(max_examples=100, deadline=None)
def test_position_at_is_the_first_whose_cumulated_mass_exceeds_the_target(seed: int, size: int, share: float) -> None:
    _, masses = keys_and_masses(seed, size, "flat")
    cumulated = np.cumsum(masses.astype(np.int64))
    target = int(share * int(cumulated[-1]))
    assert position_at(masses, target) == int(np.flatnonzero(cumulated > target)[0])


@pytest.mark.parametrize("size", [3, BLOCK_SIZE, 3 * BLOCK_SIZE, 3 * BLOCK_SIZE + 5])
def test_position_at_reaches_the_first_and_the_last_position(size: int) -> None:
    ones = np.ones(size, dtype=np.float32)
    assert [position_at(ones, 0), position_at(ones, size - 1)] == [0, size - 1]
