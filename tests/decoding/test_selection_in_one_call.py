"""The usual choice is made by one call to C++: it gives what the distribution's own steps give."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextword.decoding import sampler as sampler_module
from nextword.decoding.params import SamplingParams
from nextword.decoding.random_stream import random_numbers
from nextword.decoding.sampler import Sampler
from nextword.errors import RequestError
from nextword.native import native
from tests.decoding import oracle
from tests.decoding.ways import WAYS, computed_by

SEEDS = st.integers(0, 2**64 - 1)
PLAIN: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    temperature=st.sampled_from([0.0, 1e-9, 0.3, 0.8, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 2, 40, 999, 10_000]),
    top_p=st.sampled_from([1e-9, 0.3, 0.9, 0.999999, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    order=st.sampled_from(["nextword", "llama.cpp", "vllm"]),
)


def chosen_by(way: str, rows: NDArray[np.float32], params: SamplingParams, *, sample_index: int = 0) -> list[int]:
    with computed_by(way):
        sampler = Sampler(params, [0, 1, 2], sample_index=sample_index)
        return [sampler.choose(row).token_id for row in rows]


@given(SEEDS, PLAIN, st.sampled_from(oracle.ROW_KINDS), st.sampled_from([3, 20, 300, 5000]), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_the_choice_in_one_call_is_that_of_the_distribution(
    seed: int, plain: dict[str, Any], kind: str, size: int, sample_index: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([oracle.rows_of_logits(rng, size)[kind] for _ in range(5)])
    params = SamplingParams(seed=seed, **plain)
    native, numpy = (chosen_by(way, rows, params, sample_index=sample_index) for way in WAYS)
    assert native == numpy


@pytest.mark.parametrize("size", [49_152, 262_144])
@pytest.mark.parametrize("kind", ["flat", "as a model's", "peaked", "all equal", "ties of quarters", "mostly removed"])
def test_a_large_vocabulary_makes_no_difference(size: int, kind: str) -> None:
    rng = np.random.default_rng(1)
    rows = np.stack([oracle.rows_of_logits(rng, size)[kind] for _ in range(2)])
    settings: list[dict[str, Any]] = [
        {},
        {"top_p": 0.9},
        {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
        {"top_k": 5000},
    ]
    for plain in settings:
        params = SamplingParams(seed=3, **plain)
        assert chosen_by("native", rows, params) == chosen_by("numpy", rows, params)


@pytest.mark.skipif(native is None, reason="the C++ core was not built")
@pytest.mark.parametrize("seed", [0, 1, 2**53 + 1, 2**64 - 1])
@pytest.mark.parametrize("sample_index", [0, 5])
@pytest.mark.parametrize("position", [0, 1, 100_000])
def test_the_core_s_random_numbers_are_numpy_s(seed: int, sample_index: int, position: int) -> None:
    assert native is not None
    number, _ = random_numbers(seed, sample_index=sample_index, position=position)
    equal = np.zeros(1 << 16, dtype=np.float32)
    assert native.draw(equal, 1.0, 0, 1.0, seed, sample_index, position) == number >> (53 - 16)


@pytest.mark.skipif(native is None, reason="the C++ core was not built")
@pytest.mark.parametrize(
    ("plain", "calls"),
    [
        ({"top_p": 0.9}, 1),
        ({"top_k": 4, "temperature": 0.5, "order": "llama.cpp"}, 0),  # there the temperature comes last
        ({"min_p": 0.1}, 0),
        ({"logprobs": 0}, 0),
    ],
)
def test_one_call_is_made_where_it_can_be(plain: dict[str, Any], calls: int) -> None:
    with mock.patch.object(sampler_module, "native", wraps=native) as spy:
        Sampler(SamplingParams(seed=1, **plain), []).choose(np.zeros(9, dtype=np.float32))
    assert spy.draw.call_count == calls


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("broken", "message"), [(np.nan, "the logit of token 70 is nan"), (np.inf, "the logit of token 70 is inf")]
)
def test_broken_logits_are_refused_in_one_call_too(temperature: float, broken: float, message: str) -> None:
    for token_id, size in ((70, 71), (70, 300)):
        row = np.zeros(size, dtype=np.float32)
        row[token_id] = broken
        with pytest.raises(RequestError, match=message):
            Sampler(SamplingParams(temperature=temperature, seed=1), []).choose(row)


def test_nothing_allowed_is_refused_in_one_call_too() -> None:
    with pytest.raises(RequestError, match="every token is forbidden"):
        Sampler(SamplingParams(seed=1), []).choose(np.full(20, -np.inf, dtype=np.float32))


def test_a_row_that_is_not_contiguous_or_not_float32_is_chosen_from_as_well() -> None:
    table = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    params = SamplingParams(seed=1, top_p=0.9)
    expected = Sampler(params, []).choose(table[:, 1].copy()).token_id
    assert Sampler(params, []).choose(table[:, 1]).token_id == expected
    assert Sampler(params, []).choose(table[:, 1].astype(np.float64)).token_id == expected
