"""DRY, mirostat 2, dynamic temperature and p-less: the golden values of llama.cpp and vLLM, and plain versions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextword.decoding.distribution import Distribution
from nextword.decoding.params import ProcessorOrder, SamplingParams
from nextword.decoding.processors import active_steps, penalized_logits, processed_distribution, seen_tokens
from nextword.decoding.sampler import Sampler
from nextword.decoding.seen_tokens import Repetitions
from nextword.errors import RequestError
from tests.decoding import oracle

Row = NDArray[np.float32]


def logits_of(probabilities: Sequence[float]) -> Row:
    return np.log(np.array(probabilities, dtype=np.float32))


def processed(
    logits: Row, params: SamplingParams, output: Sequence[int] = (), breakers: Sequence[int] = ()
) -> list[float]:
    seen = seen_tokens([], params, breakers=breakers)
    for token_id in output:
        seen.append(token_id)
    probabilities: list[float] = processed_distribution(logits, params, seen).probabilities().tolist()
    return probabilities


# ---- DRY ----


@pytest.mark.parametrize(
    ("size", "output", "expected", "multiplier", "allowed", "breakers"),
    [
        (4, [0, 1], [0.25] * 4, 1.0, 2, []),
        (4, [0, 1, 2, 0, 1], [0.296923, 0.296923, 0.109232, 0.296923], 1.0, 2, []),
        (5, [0, 1, 3, 4, 0, 1], [0.2] * 5, 1.0, 2, [3]),
        (5, [0, 1, 2, 0, 1], [0.241818, 0.241818, 0.032727, 0.241818, 0.241818], 2.0, 2, []),
        (5, [0, 1, 2, 3, 4, 0, 1], [0.2] * 5, 1.0, 4, []),
    ],
)
def test_dry_gives_the_values_of_llama_cpp(
    size: int, output: list[int], expected: list[float], multiplier: float, allowed: int, breakers: list[int]
) -> None:
    params = SamplingParams(dry_multiplier=multiplier, dry_base=1.1, dry_allowed_length=allowed)
    assert processed(logits_of([1 / size] * size), params, output, breakers) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("output", "allowed", "expected"),
    [([1, 2, 3, 3, 2, 3, 9, 1, 2, 3], 1, {3: 4, 2: 1, 9: 2}), ([0, 0, 0, 1, 0, 0], 2, {0: 1, 1: 1})],
)
def test_dry_gives_the_penalties_of_vllm(output: list[int], allowed: int, expected: dict[int, float]) -> None:
    params = SamplingParams(dry_multiplier=1.0, dry_base=2.0, dry_allowed_length=allowed)
    seen = seen_tokens(output, params)
    logits = np.zeros(12, dtype=np.float32)
    penalties = -penalized_logits(logits, params, seen)
    assert {int(token): float(penalties[token]) for token in np.flatnonzero(penalties)} == expected


def plain_repetitions(tokens: list[int], window: int, breakers: list[int], allowed: int) -> dict[int, int]:
    """For each place, compare backwards from the end, token by token."""
    tokens = tokens if window < 0 else tokens[max(len(tokens) - window, 0) :]
    found: dict[int, int] = {}
    for place in range(len(tokens) - 1):
        length = 0
        while length <= place and tokens[place - length] == tokens[-1 - length] not in breakers:
            length += 1
        following = tokens[place + 1]
        if length >= allowed and following not in breakers:
            found[following] = max(found.get(following, 0), length)
    return found


@settings(max_examples=300)
@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.lists(st.integers(0, 3), max_size=80),
    st.sampled_from([-1, 1, 2, 7, 40]),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(1, 4),
)
def test_repetitions_are_those_of_comparing_token_by_token(
    prompt: list[int], output: list[int], window: int, breakers: list[int], allowed: int
) -> None:
    seen = Repetitions(prompt, window=window, breakers=frozenset(breakers))
    assert seen.lengths(allowed) == plain_repetitions(prompt, window, breakers, allowed)
    for done, token_id in enumerate(output, 1):
        seen.add(token_id)
        assert seen.lengths(allowed) == plain_repetitions([*prompt, *output[:done]], window, breakers, allowed)


def test_a_long_repetition_forbids_no_token() -> None:
    params = SamplingParams(dry_multiplier=1e6, dry_base=100.0, dry_allowed_length=1)
    distribution = processed_distribution(np.zeros(2, dtype=np.float32), params, seen_tokens([1] * 500, params))
    assert len(distribution) == 2


# ---- dynamic temperature ----


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, [0.1, 0.2, 0.3, 0.4]), (0.0, [0.0, 0.0, 0.0, 1.0])])
def test_without_a_range_the_temperature_gives_the_values_of_llama_cpp(
    temperature: float, expected: list[float]
) -> None:
    params = SamplingParams(temperature=temperature, dynatemp_range=0.0)
    assert processed(logits_of([0.1, 0.2, 0.3, 0.4]), params) == pytest.approx(expected, abs=1e-5)


@given(
    st.lists(st.floats(0.001, 1.0), min_size=2, max_size=8),
    st.floats(0.1, 3.0),
    st.floats(0.01, 3.0),
    st.floats(0.0, 3.0),
)
def test_the_temperature_follows_the_entropy(
    weights: list[float], temperature: float, spread: float, exponent: float
) -> None:
    probabilities = np.array(weights) / sum(weights)
    entropy = -float((probabilities * np.log(probabilities)).sum())
    low, high = max(temperature - spread, 0.0), temperature + spread
    mean = low + (high - low) * min(entropy / math.log(len(weights)), 1.0) ** exponent
    params = SamplingParams(temperature=temperature, dynatemp_range=spread, dynatemp_exponent=exponent)
    expected = oracle.softmax(logits_of(probabilities.tolist()), max(mean, 1e-3))
    if mean >= 1e-3:
        assert processed(logits_of(probabilities.tolist()), params) == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("order", ["nextword", "transformers", "vllm", "llama.cpp"])
def test_the_dynamic_temperature_stands_in_the_place_of_the_fixed_one(order: ProcessorOrder) -> None:
    fixed = active_steps(SamplingParams(temperature=0.5, top_k=3, min_p=0.1, order=order))
    dynamic = active_steps(SamplingParams(temperature=0.5, dynatemp_range=0.2, top_k=3, min_p=0.1, order=order))
    assert dynamic == tuple("dynatemp_range" if name == "temperature" else name for name in fixed)


def test_the_one_token_that_is_left_stays_certain() -> None:
    params = SamplingParams(top_k=1, dynatemp_range=0.5, order="llama.cpp")
    assert processed(logits_of([0.3, 0.7]), params) == [0.0, 1.0]


# ---- the other samplers of llama.cpp's test ----


@pytest.mark.parametrize(
    ("output", "repetition", "others", "expected"),
    [
        ([0], 50.0, 0.0, [0, 0.25, 0.25, 0.25, 0.25]),
        ([0, 1, 2], 50.0, 0.0, [0, 0, 0, 0.5, 0.5]),
        ([0, 1, 2, 0, 0], 50.0, 0.0, [0, 0, 0, 0.5, 0.5]),
        ([0], 1.0, 5.0, [0.000011, 0.249997, 0.249997, 0.249997, 0.249997]),
        ([0, 1, 2], 1.0, 5.0, [0.000023, 0.000023, 0.000023, 0.499966, 0.499966]),
        ([0, 1, 2, 0, 0], 1.0, 5.0, [0.0, 0.000023, 0.000023, 0.499977, 0.499977]),
    ],
)
def test_penalties_give_the_values_of_llama_cpp(
    output: list[int], repetition: float, others: float, expected: list[float]
) -> None:
    params = SamplingParams(repetition_penalty=repetition, presence_penalty=others, frequency_penalty=others)
    assert processed(logits_of([0.2] * 5), params, output) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (SamplingParams(top_n_sigma=1.0), [0.0, 0.0, 0.428571, 0.571429]),
        (SamplingParams(top_n_sigma=0.0), [0.1, 0.2, 0.3, 0.4]),
        (SamplingParams(top_n_sigma=3.0), [0.1, 0.2, 0.3, 0.4]),
        (SamplingParams(xtc_probability=0.99, xtc_threshold=0.09), [1.0, 0.0, 0.0, 0.0]),
        (SamplingParams(xtc_probability=0.99, xtc_threshold=0.19), [1 / 3, 2 / 3, 0.0, 0.0]),
        (SamplingParams(xtc_probability=0.99, xtc_threshold=0.29), [1 / 6, 2 / 6, 3 / 6, 0.0]),
        (SamplingParams(xtc_probability=0.99, xtc_threshold=0.39), [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_top_n_sigma_and_xtc_give_the_values_of_llama_cpp(params: SamplingParams, expected: list[float]) -> None:
    assert processed(logits_of([0.1, 0.2, 0.3, 0.4]), params) == pytest.approx(expected, abs=1e-5)


# ---- p-less ----


@pytest.mark.parametrize(
    ("probabilities", "kept"),
    [([0.1, 0.15, 0.2, 0.25, 0.3], [3, 4]), ([0.25] * 4, [0, 1, 2, 3]), ([0.97, 0.01, 0.01, 0.01], [0])],
)
def test_p_less_keeps_what_is_at_least_as_probable_as_a_repeated_draw(
    probabilities: list[float], kept: list[int]
) -> None:
    distribution = Distribution.from_logits(logits_of(probabilities)).p_less()
    assert distribution.token_ids.tolist() == kept
    assert np.flatnonzero(processed(logits_of(probabilities), SamplingParams(p_less=True))).tolist() == kept


# ---- mirostat ----


def test_mirostat_is_the_arithmetic_of_llama_cpp() -> None:
    """mu = 2 tau; keep -log2 p <= mu, at least one; draw of the rest; mu -= eta (-log2 p of the rest - tau)."""
    params = SamplingParams(mirostat_tau=2.0, mirostat_eta=0.3, temperature=0.8, seed=4)
    sampler = Sampler(params, [])
    bound = 4.0
    random = np.random.default_rng(1)
    for _ in range(60):
        logits = (3 * random.standard_normal(50)).astype(np.float32)
        probabilities = oracle.softmax(logits, 0.8)
        kept = -np.log2(probabilities) <= bound
        kept[probabilities.argmax()] |= not kept.any()
        assert np.array_equal(sampler.distribution(logits).probabilities() > 0, kept)
        token = sampler.choose(logits).token_id
        bound -= 0.3 * (-math.log2(probabilities[token] / probabilities[kept].sum()) - 2.0)


@pytest.mark.parametrize("tau", [1.5, 3.0, 5.0])
def test_mirostat_holds_the_surprisal(tau: float) -> None:
    sampler = Sampler(SamplingParams(mirostat_tau=tau, seed=1), [])
    random = np.random.default_rng(0)
    bits = []
    for _ in range(1500):
        logits = (2.0 * random.standard_normal(2000)).astype(np.float32)
        distribution = sampler.distribution(logits)
        bits.append(-distribution.log_prob(sampler.choose(logits).token_id) / math.log(2))
    assert np.mean(bits[200:]) == pytest.approx(tau, rel=0.05)


def test_mirostat_stands_in_place_of_all_truncations() -> None:
    params = SamplingParams(mirostat_tau=3.0, temperature=0.7, top_k=1, top_p=0.1, min_p=0.9, xtc_probability=1.0)
    assert active_steps(params) == ("temperature",)


def test_greedy_decoding_ignores_it() -> None:
    logits = logits_of([0.2, 0.5, 0.3])
    assert Sampler(SamplingParams(mirostat_tau=9.0, temperature=0.0), []).choose(logits).token_id == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dry_multiplier", -1),
        ("dry_base", 0.5),
        ("dry_allowed_length", 0),
        ("dry_range", -2),
        ("dry_sequence_breakers", [""]),
        ("mirostat_tau", -1),
        ("mirostat_eta", math.nan),
        ("dynatemp_range", -0.1),
        ("dynatemp_exponent", math.inf),
        ("p_less", 1),
    ],
)
def test_values_that_mean_nothing_are_refused(field: str, value: object) -> None:
    with pytest.raises(RequestError, match=field):
        SamplingParams(**{field: value})  # type: ignore[arg-type]
