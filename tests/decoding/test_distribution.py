from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nextword.decoding.distribution import Distribution
from nextword.errors import RequestError
from tests.decoding import oracle

SEEDS = st.integers(0, 2**32 - 1)
KINDS = st.sampled_from(oracle.ROW_KINDS)
SIZES = st.sampled_from([1, 3, 50, 3000])
MASSES = st.floats(0, 1, exclude_min=True, exclude_max=True)


def of_probabilities(*probabilities: float) -> Distribution:
    return Distribution.from_logits(np.log(np.array(probabilities)))


def of_kind(kind: str, seed: int = 0, size: int = 50) -> Distribution:
    return Distribution.from_logits(oracle.rows_of_logits(np.random.default_rng(seed), size)[kind])


def kept(distribution: Distribution) -> list[int]:
    return [int(token_id) for token_id in distribution.token_ids]


# Golden vectors: numbers of llama.cpp's own sampling tests


@pytest.mark.parametrize(("k", "expected"), [(1, [3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_top_k_keeps_the_k_most_probable(k: int, expected: list[int]) -> None:
    assert kept(of_probabilities(0.1, 0.2, 0.3, 0.4).top_k(k)) == expected


@pytest.mark.parametrize(("p", "expected"), [(1e-9, [3]), (0.7, [2, 3]), (0.8, [1, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_top_p_keeps_the_crossing_token(p: float, expected: list[int]) -> None:
    assert kept(of_probabilities(0.1, 0.2, 0.3, 0.4).top_p(p)) == expected


@pytest.mark.parametrize(
    ("min_p", "expected"), [(0.24, 4), (0.26, 3), (0.49, 3), (0.51, 2), (0.74, 2), (0.76, 1), (1.0, 1)]
)
def test_min_p_keeps_what_is_near_the_most_probable(min_p: float, expected: int) -> None:
    assert len(of_probabilities(0.1, 0.2, 0.3, 0.4).min_p(min_p)) == expected


@pytest.mark.parametrize(
    ("probabilities", "expected"), [((0.97, 0.01, 0.01, 0.01), [0]), ((0.4, 0.2, 0.2, 0.2), [1, 2, 3])]
)
def test_typical_keeps_surprisals_near_the_entropy(probabilities: tuple[float, ...], expected: list[int]) -> None:
    assert kept(of_probabilities(*probabilities).typical(0.5)) == expected


def test_truncation_renormalises() -> None:
    left = of_probabilities(1e-30, 0.5, 0.4, 0.1).top_p(0.6)
    np.testing.assert_allclose(left.probabilities(), [0, 5 / 9, 4 / 9, 0], atol=1e-7)


# Hand-computed values of the other truncations


def test_epsilon_removes_what_is_less_probable_than_the_cutoff() -> None:
    distribution = of_probabilities(0.5, 0.3, 0.15, 0.05)
    assert [kept(distribution.epsilon(cutoff)) for cutoff in (0.04, 0.06, 0.2, 0.9)] == [
        [0, 1, 2, 3],
        [0, 1, 2],
        [0, 1],
        [0],
    ]


def test_eta_lowers_the_cutoff_for_a_flat_distribution() -> None:
    flat = of_probabilities(*[0.01] * 100)  # entropy ln 100, so the cutoff is sqrt(0.09) / 100 = 0.003
    assert len(flat.eta(0.09)) == 100
    assert kept(of_probabilities(0.9, 0.05, 0.05).eta(0.09)) == [0]  # entropy 0.394: min(0.09, 0.3 * 0.67) = 0.09


def test_top_n_sigma_measures_from_the_largest_in_standard_deviations() -> None:
    distribution = Distribution.from_logits([0.0, 2.0, 4.0, 6.0])  # population standard deviation sqrt(5) = 2.236
    assert [kept(distribution.top_n_sigma(n)) for n in (0.5, 0.9, 2.0)] == [[3], [2, 3], [1, 2, 3]]
    assert kept(distribution.temperature(3.0).top_n_sigma(0.9)) == [2, 3]


def test_xtc_leaves_the_least_probable_of_the_choices() -> None:
    distribution = of_probabilities(0.4, 0.3, 0.2, 0.1)
    assert kept(distribution.xtc(0.15)) == [2, 3]
    assert kept(distribution.xtc(0.35)) == [0, 1, 2, 3]
    assert kept(of_probabilities(0.3, 0.3, 0.3, 0.1).xtc(0.2)) == [2, 3]
    assert kept(of_probabilities(0.5, 0.5).xtc(0.0)) == [1]


# Ties


def test_equal_logits_are_decided_by_the_lower_id() -> None:
    equal = Distribution.from_logits(np.zeros(10))
    assert equal.argmax() == 0
    assert kept(equal.temperature(0.0)) == [0]
    assert kept(equal.top_k(3)) == [0, 1, 2]
    assert kept(equal.top_p(0.35)) == [0, 1, 2, 3]
    assert kept(equal.top_p(0.5)) == [0, 1, 2, 3, 4]
    assert kept(equal.typical(0.2)) == [0, 1]


def test_min_p_and_top_n_sigma_keep_ties_with_their_bound() -> None:
    equal = Distribution.from_logits(np.zeros(10))
    assert len(equal.min_p(1.0)) == len(equal.top_n_sigma(1.0)) == 10


# Laws


@given(SEEDS, KINDS, SIZES, st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_top_k_equals_sorting(seed: int, kind: str, size: int, k: int) -> None:
    distribution = of_kind(kind, seed, size)
    expected = distribution.token_ids[oracle.largest(distribution.logits, k)]
    assert kept(distribution.top_k(k)) == expected.tolist()


@given(SEEDS, KINDS, SIZES, MASSES, st.floats(0.05, 20))
@settings(max_examples=200, deadline=None)
def test_top_p_has_the_mass_and_one_token_fewer_has_not(
    seed: int, kind: str, size: int, p: float, temperature: float
) -> None:
    distribution = of_kind(kind, seed, size).temperature(temperature)
    probabilities = distribution.probabilities()
    left = kept(distribution.top_p(p))
    last = max(left, key=lambda token_id: (-probabilities[token_id], token_id))
    assert probabilities[left].sum() >= p - 1e-6
    assert probabilities[left].sum() - probabilities[last] < p + 1e-6


@given(SEEDS, KINDS, SIZES, MASSES)
@settings(max_examples=100, deadline=None)
def test_top_p_keeps_a_prefix_of_the_order_by_probability_and_id(seed: int, kind: str, size: int, p: float) -> None:
    distribution = of_kind(kind, seed, size)
    left = distribution.top_p(p)
    expected = distribution.token_ids[oracle.largest(distribution.logits, len(left))]
    assert kept(left) == expected.tolist()


@given(SEEDS, KINDS, SIZES)
@settings(max_examples=50, deadline=None)
def test_top_k_of_one_is_greedy_and_so_is_temperature_towards_zero(seed: int, kind: str, size: int) -> None:
    distribution = of_kind(kind, seed, size)
    greedy = distribution.argmax()
    assert greedy == kept(distribution)[oracle.in_order(distribution.logits)[0]]
    assert distribution.top_k(1).sample(seed) == greedy
    assert distribution.temperature(0.0).sample(seed) == greedy
    nearly = distribution.temperature(1e-6).temperature(1e-6).temperature(1e-6)
    drawn = nearly.sample(seed)
    assert distribution.log_prob(drawn) == pytest.approx(distribution.log_prob(greedy), abs=1e-9)


OPERATIONS: dict[str, Callable[[Distribution, float], Distribution]] = {
    "temperature": lambda d, x: d.temperature(3 * x),
    "top_k": lambda d, x: d.top_k(1 + int(20 * x)),
    "top_p": lambda d, x: d.top_p(x),
    "min_p": lambda d, x: d.min_p(x),
    "typical": lambda d, x: d.typical(x),
    "epsilon": lambda d, x: d.epsilon(x),
    "eta": lambda d, x: d.eta(x),
    "top_n_sigma": lambda d, x: d.top_n_sigma(3 * x),
    "xtc": lambda d, x: d.xtc(x),
}


@given(SEEDS, KINDS, SIZES, st.lists(st.tuples(st.sampled_from(list(OPERATIONS)), MASSES), max_size=6))
@settings(max_examples=200, deadline=None)
def test_whatever_is_done_a_distribution_is_left(
    seed: int, kind: str, size: int, operations: list[tuple[str, float]]
) -> None:
    first = last = of_kind(kind, seed, size)
    for name, amount in operations:
        last = OPERATIONS[name](last, amount)
    probabilities = last.probabilities()
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-9)
    assert np.flatnonzero(probabilities).size <= len(last) <= len(first)
    assert set(kept(last)) <= set(kept(first))
    assert last.sample(seed) in kept(last)
    assert 0.0 <= last.entropy <= math.log(len(last)) + 1e-9


@given(SEEDS, KINDS, MASSES, st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_truncations_in_sequence_see_what_the_one_before_left(seed: int, kind: str, p: float, k: int) -> None:
    row = oracle.rows_of_logits(np.random.default_rng(seed), 200)[kind]
    truncated = Distribution.from_logits(row).top_k(k)
    removed = np.full_like(row, -np.inf)
    removed[truncated.token_ids] = row[truncated.token_ids]
    assert kept(truncated.top_p(p)) == kept(Distribution.from_logits(removed).top_p(p))


# The draw


@pytest.mark.parametrize("kind", ["flat", "as a model's", "many ties", "mostly removed"])
def test_draws_follow_the_distribution(kind: str) -> None:
    distribution = of_kind(kind, size=60).temperature(0.8).top_p(0.95)
    num_draws = 20_000
    drawn = [distribution.sample(11, position=position) for position in range(num_draws)]
    counts = np.bincount(drawn, minlength=60)[distribution.token_ids]
    expected = distribution.probabilities()[distribution.token_ids] * num_draws
    assert chisquare(counts, expected).pvalue > 1e-4


def test_draws_from_a_large_vocabulary_follow_the_distribution() -> None:
    distribution = of_kind("flat", size=5000)
    drawn = np.array([distribution.sample(3, position=position) for position in range(10_000)])
    by_group = distribution.probabilities().reshape(50, 100).sum(axis=1)
    assert chisquare(np.bincount(drawn // 100, minlength=50), by_group * 10_000).pvalue > 1e-4


def test_draw_inverts_the_cumulated_distribution_in_order_of_token_id() -> None:
    distribution = of_probabilities(0.125, 0.5, 0.375)
    edges = [0, 0.124, 0.126, 0.624, 0.626, 1 - 2**-53]
    assert [distribution.draw(int(edge * 2**53)) for edge in edges] == [0, 0, 1, 1, 2, 2]


def test_equal_seeds_draw_alike_and_other_sample_indices_do_not() -> None:
    distribution = of_kind("flat", size=3000)
    first = [distribution.sample(1, position=position) for position in range(20)]
    assert first == [distribution.sample(1, position=position) for position in range(20)]
    assert first != [distribution.sample(1, position=position, sample_index=1) for position in range(20)]
    assert first != [distribution.sample(2, position=position) for position in range(20)]


def test_draws_without_a_seed_differ() -> None:
    distribution = of_kind("flat", size=3000)
    assert len({distribution.sample() for _ in range(10)}) > 1


# Looking at it


@given(SEEDS, KINDS, st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_probabilities_are_the_softmax(seed: int, kind: str, temperature: float) -> None:
    row = oracle.rows_of_logits(np.random.default_rng(seed), 50)[kind]
    distribution = Distribution.from_logits(row).temperature(temperature)
    np.testing.assert_allclose(distribution.probabilities(), oracle.softmax(row, temperature), rtol=1e-9, atol=1e-300)


def test_log_prob_of_a_removed_token_is_minus_infinity() -> None:
    left = of_probabilities(0.1, 0.2, 0.3, 0.4).top_k(2)
    assert [left.log_prob(i) for i in range(4)] == [-math.inf, -math.inf, *map(pytest.approx, np.log([3 / 7, 4 / 7]))]


@pytest.mark.parametrize("token_id", [-1, 4])
def test_log_prob_refuses_a_token_outside_the_vocabulary(token_id: int) -> None:
    with pytest.raises(RequestError, match="must be from 0 to 3"):
        of_probabilities(0.1, 0.2, 0.3, 0.4).log_prob(token_id)


def test_entropy_is_in_nats() -> None:
    assert Distribution.from_logits(np.zeros(8)).entropy == pytest.approx(math.log(8))
    assert str(Distribution.from_logits(np.zeros(8)).top_k(1).entropy) == "0.0"


def test_length_is_the_number_of_tokens_left() -> None:
    assert len(Distribution.from_logits([0.0, -np.inf, 1.0])) == 2
    assert repr(of_probabilities(0.5, 0.5)) == "Distribution(2 of 2 tokens, entropy 0.693 nats)"


def test_table_lists_the_most_probable_with_cumulated_mass() -> None:
    distribution = Distribution.from_logits(np.log([0.1, 0.2, 0.3, 0.4]), token_text=lambda token_id: f" w{token_id}")
    table = distribution.table(3)
    assert [(row.rank, row.token_id, row.text) for row in table.rows] == [(1, 3, " w3"), (2, 2, " w2"), (3, 1, " w1")]
    assert [row.cumulative for row in table.rows] == pytest.approx([0.4, 0.7, 0.9])
    assert str(table).splitlines() == [
        "rank  token id  token  probability  log-prob  cumulative",
        "   1         3  ' w3'     0.400000   -0.9163    0.400000",
        "   2         2  ' w2'     0.300000   -1.2040    0.700000",
        "   3         1  ' w1'     0.200000   -1.6094    0.900000",
        "... and 1 more",
    ]


def test_table_orders_equal_tokens_by_id_and_can_do_without_text() -> None:
    table = Distribution.from_logits([0.0, 1.0, 1.0]).table(3)
    assert [row.token_id for row in table.rows] == [1, 2, 0]
    assert "token  " not in str(table).splitlines()[0].replace("token id", "")


# Damaged and extreme input


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([0.0, math.nan, 1.0], "the logit of token 1 is nan"),
        ([0.0, 1.0, math.inf], "the logit of token 2 is inf"),
        ([-math.inf, math.nan], "the logit of token 1 is nan"),
        ([-math.inf, -math.inf], "every token is forbidden"),
        ([], "must be one row"),
        ([[0.0, 1.0]], "must be one row"),
    ],
)
def test_broken_logits_are_refused(logits: list[float], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Distribution.from_logits(logits)


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("temperature", -1.0), ("temperature", math.nan), ("top_k", -1), ("top_k", 1.5), ("top_p", 0.0), ("top_p", 1.1),
        ("min_p", -0.1), ("typical", 0.0), ("epsilon", 1.0), ("eta", -1.0), ("top_n_sigma", -1.0), ("xtc", 2.0),
    ],
)  # fmt: skip
def test_operations_refuse_values_out_of_range(method: str, value: float) -> None:
    with pytest.raises(RequestError, match=f"= {value}: must be "):
        getattr(of_probabilities(0.5, 0.5), method)(value)


def test_the_caller_s_logits_are_never_changed() -> None:
    row = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    before = row.copy()
    distribution = Distribution.from_logits(row)
    for operation in OPERATIONS.values():
        operation(distribution, 0.5).sample(1)
    np.testing.assert_array_equal(row, before)
