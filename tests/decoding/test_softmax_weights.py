from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextword.decoding.softmax_weights import softmax_weights
from tests.decoding import oracle
from tests.decoding.ways import WAYS, computed_by

SEEDS = st.integers(0, 2**32 - 1)
KINDS = st.sampled_from([kind for kind in oracle.ROW_KINDS if kind != "mostly removed"])
SIZES = st.sampled_from([1, 2, 15, 16, 17, 100, 5000])
TEMPERATURES = st.sampled_from([1.0, 0.7, 0.05, 3.0, 1e-30, 1e4])


def weights_of(logits: NDArray[np.float32], way: str, temperature: float = 1.0) -> tuple[NDArray[np.float32], float]:
    with computed_by(way):
        return softmax_weights(
            logits, highest=float(logits.max()), divisor=temperature, vocab_size=max(len(logits), 50_000)
        )


@given(SEEDS, KINDS, SIZES, TEMPERATURES)
@settings(max_examples=200, deadline=None)
def test_native_and_numpy_weights_have_the_same_bits(seed: int, kind: str, size: int, temperature: float) -> None:
    row = oracle.rows_of_logits(np.random.default_rng(seed), size)[kind]
    native, numpy = (weights_of(row, way, temperature) for way in WAYS)
    assert native[0].tobytes() == numpy[0].tobytes()
    assert native[1] == numpy[1]


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_the_same_on_every_machine(way: str) -> None:
    distances = (np.arange(65_536) / -1024).astype(np.float32)
    weights, total = weights_of(distances, way, temperature=0.75)
    weighted = sum(int(weight) * (1 + i % 97) for i, weight in enumerate(weights))
    assert (int(total), weighted) == (52_810_925_464_399, 2_533_838_524_362_605)


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_exponentials_to_the_last_bit_or_two(way: str) -> None:
    distances = -np.random.default_rng(0).uniform(0, 40, size=50_000).astype(np.float32)
    distances[0] = 0.0
    weights, _ = weights_of(distances, way)
    exact = np.exp(distances.astype(np.float64)) * 2.0**37
    assert np.all(np.abs(weights - exact) <= 0.5 + 1.3 * np.spacing(exact.astype(np.float32)))
    assert np.all(weights == np.rint(weights))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vocab_size", [1, 3, 49_152, 262_144])
def test_weights_of_equal_tokens_fit_a_float64_with_their_sum(way: str, vocab_size: int) -> None:
    with computed_by(way):
        weights, total = softmax_weights(
            np.zeros(vocab_size, dtype=np.float32), highest=0.0, divisor=1.0, vocab_size=vocab_size
        )
    assert total == int(weights[0]) * vocab_size
    assert 2**51 <= total < 2**53


@pytest.mark.parametrize("way", WAYS)
def test_a_row_of_a_larger_array_need_not_be_contiguous(way: str) -> None:
    table = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    column, copy = table[:, 1], table[:, 1].copy()
    assert weights_of(column, way)[0].tobytes() == weights_of(copy, way)[0].tobytes()
