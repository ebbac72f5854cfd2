from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextword.decoding.distribution import Distribution
from nextword.decoding.selection import BLOCK_SIZE, largest, position_at, smallest_set
from tests.decoding import oracle
from tests.decoding.ways import WAYS, computed_by

SIZES = st.sampled_from([1, 2, 7, 100, BLOCK_SIZE + 1, 2048, 5000])
KINDS = st.sampled_from([kind for kind in oracle.ROW_KINDS if kind != "mostly removed"])
SEEDS = st.integers(0, 2**32 - 1)


def keys_and_weights(seed: int, size: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Keys of a kind, with weights that have nothing to do with them, many of them 0."""
    rng = np.random.default_rng(seed)
    weights = np.rint(np.exp2(rng.uniform(-20, 34, size=size))).astype(np.float32)
    weights[rng.integers(size)] = 1.0
    return oracle.rows_of_logits(rng, size)[kind], weights


@pytest.mark.parametrize("way", WAYS)
@given(SEEDS, SIZES, KINDS, st.integers(0, 300))
@settings(max_examples=150, deadline=None)
def test_largest_equals_sorting(way: str, seed: int, size: int, kind: str, k: int) -> None:
    keys, _ = keys_and_weights(seed, size, kind)
    with computed_by(way):
        found = largest(keys, k)
    assert found.tolist() == oracle.largest(keys, k)


@pytest.mark.parametrize("way", WAYS)
@given(SEEDS, SIZES, KINDS, st.floats(0, 1, exclude_min=True))
@settings(max_examples=200, deadline=None)
def test_smallest_set_equals_sorting(way: str, seed: int, size: int, kind: str, share: float) -> None:
    keys, weights = keys_and_weights(seed, size, kind)
    total = float(weights.sum(dtype=np.float64))
    with computed_by(way):
        found = smallest_set(keys, weights, wanted=share * total, total=total)
    assert found.tolist() == oracle.smallest_set(keys, weights, share * total)


@pytest.mark.parametrize("way", WAYS)
@given(SEEDS, KINDS, st.sampled_from([1e-9, 0.5, 0.9, 0.999999, 1 - 2**-53]))
@settings(max_examples=60, deadline=None)
def test_smallest_set_equals_sorting_when_mass_grows_with_the_key(way: str, seed: int, kind: str, share: float) -> None:
    keys, _ = keys_and_weights(seed, 6000, kind)
    weights = np.rint(oracle.softmax(keys) / oracle.softmax(keys).max() * 2**37).astype(np.float32)
    total = float(weights.sum(dtype=np.float64))
    with computed_by(way):
        found = smallest_set(keys, weights, wanted=share * total, total=total)
    assert found.tolist() == oracle.smallest_set(keys, weights, share * total)


@pytest.mark.parametrize("way", WAYS)
@given(SEEDS, SIZES, st.floats(0, 1, exclude_max=True))
@settings(max_examples=100, deadline=None)
def test_position_at_is_the_first_whose_cumulated_mass_exceeds_the_target(
    way: str, seed: int, size: int, share: float
) -> None:
    _, weights = keys_and_weights(seed, size, "flat")
    cumulated = np.cumsum(weights.astype(np.int64))
    target = int(share * int(cumulated[-1]))
    with computed_by(way):
        found = position_at(weights, target)
    assert found == int(np.flatnonzero(cumulated > target)[0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [3, BLOCK_SIZE, 3 * BLOCK_SIZE, 3 * BLOCK_SIZE + 5])
def test_position_at_reaches_the_first_and_the_last_position(way: str, size: int) -> None:
    ones = np.ones(size, dtype=np.float32)
    with computed_by(way):
        assert [position_at(ones, 0), position_at(ones, size - 1)] == [0, size - 1]


CHAINS: dict[str, Callable[[Distribution, float], Distribution]] = {
    "temperature": lambda d, x: d.temperature(2 * x),
    "top-k": lambda d, x: d.top_k(1 + int(1e4 * x**4)),
    "top-p": lambda d, x: d.top_p(x),
    "all three": lambda d, x: d.temperature(2 * x).top_k(1 + int(1e4 * x**4)).top_p(x),
    "temperature and top-p": lambda d, x: d.temperature(2 * x).top_p(x),
}


@given(SEEDS, st.sampled_from(oracle.ROW_KINDS), st.sampled_from([1, 50, 3000, 49_152]), st.sampled_from(list(CHAINS)))
@settings(max_examples=150, deadline=None)
def test_the_same_tokens_are_kept_and_drawn_with_and_without_the_native_module(
    seed: int, kind: str, size: int, chain: str
) -> None:
    rng = np.random.default_rng(seed)
    row, amount = oracle.rows_of_logits(rng, size)[kind], 1 - rng.random()
    kept, drawn = [], []
    for way in WAYS:
        with computed_by(way):
            left = CHAINS[chain](Distribution.from_logits(row), amount)
            kept.append(left.token_ids.tolist())
            drawn.append([left.sample(seed, position=position) for position in range(20)])
    assert kept[0] == kept[1]
    assert drawn[0] == drawn[1]


def test_threads_select_at_the_same_time_what_one_selects() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.normal(scale=3, size=20_000).astype(np.float32) for _ in range(40)]

    def choose(row: NDArray[np.float32]) -> int:
        return Distribution.from_logits(row).temperature(0.8).top_p(0.9).sample(1)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(choose, rows)) == [choose(row) for row in rows]


def test_weights_that_do_not_add_up_are_refused_and_not_read_past() -> None:
    native = pytest.importorskip("nextword._native", reason="the C++ core was not built")
    keys = np.zeros(1000, dtype=np.float32)
    for size, wanted, message in (
        (1000, 1001.0, "weigh less"),
        (999, 1.0, "as many weights"),
        (0, 1.0, "as many weights"),
    ):
        with pytest.raises(ValueError, match=message):
            native.smallest_set(keys, np.ones(size, dtype=np.float32), wanted, wanted)
