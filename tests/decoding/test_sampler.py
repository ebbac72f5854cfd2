from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from nextword.decoding.distribution import Distribution
from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import Sampler, score_token

LOGITS = np.random.default_rng(0).normal(scale=2, size=(12, 300)).astype(np.float32)


def choose_all(sampler: Sampler, rows: NDArray[np.float32] = LOGITS) -> list[int]:
    return [sampler.choose(row).token_id for row in rows]


def test_equal_seeds_choose_alike_and_other_sample_indices_do_not() -> None:
    params = SamplingParams(seed=4, temperature=1.5)
    first = choose_all(Sampler(params, [1, 2, 3]))
    assert choose_all(Sampler(params, [7, 8, 9])) == first
    assert choose_all(Sampler(params, [1, 2, 3], sample_index=1)) != first
    assert choose_all(Sampler(SamplingParams(seed=5, temperature=1.5), [1, 2, 3])) != first


def test_the_random_number_belongs_to_the_position_not_to_the_order_of_calls() -> None:
    params = SamplingParams(seed=4, temperature=1.5)
    whole = Sampler(params, [1])
    chosen = choose_all(whole)
    resumed = Sampler(params, [1, *chosen[:5]])
    assert choose_all(resumed, LOGITS[5:]) == chosen[5:]


def test_a_request_without_seed_gets_one_that_repeats_it() -> None:
    sampler = Sampler(SamplingParams(temperature=1.5), [1])
    chosen = choose_all(sampler)
    assert choose_all(Sampler(SamplingParams(temperature=1.5, seed=sampler.seed), [1])) == chosen
    assert choose_all(Sampler(SamplingParams(temperature=1.5), [1], seed=sampler.seed)) == chosen


def test_greedy_takes_the_argmax() -> None:
    assert choose_all(Sampler(SamplingParams(temperature=0.0), [])) == LOGITS.argmax(axis=1).tolist()


def test_penalties_follow_the_tokens_chosen() -> None:
    sampler = Sampler(SamplingParams(temperature=0.0, no_repeat_ngram_size=1), [0])
    row = np.array([3, 2, 1], dtype=np.float32)
    assert [sampler.choose(row).token_id, sampler.choose(row).token_id] == [1, 2]


def test_end_tokens_wait_for_min_tokens() -> None:
    sampler = Sampler(SamplingParams(temperature=0.0, min_tokens=1), [], end_token_ids=(0,))
    row = np.array([3, 2, 1], dtype=np.float32)
    assert [sampler.choose(row).token_id, sampler.choose(row).token_id] == [1, 0]


def test_xtc_tosses_its_coin_apart_from_the_draw() -> None:
    params = SamplingParams(seed=1, xtc_probability=0.5, xtc_threshold=0.15)
    row = np.log([0.5, 0.3, 0.2]).astype(np.float32)
    sampler = Sampler(params, [])
    counts = np.bincount([sampler.choose(row).token_id for _ in range(4000)], minlength=3)
    assert chisquare(counts, 4000 * (0.5 * np.array([0.5, 0.3, 0.2]) + 0.5 * np.array([0, 0, 1]))).pvalue > 1e-4


def test_log_probs_are_the_models_own_unless_processed_is_asked_for() -> None:
    row = np.log([0.5, 0.3, 0.15, 0.05]).astype(np.float32)
    raw = Sampler(SamplingParams(seed=1, top_k=2, temperature=0.5, logprobs=3), []).choose(row)
    assert raw.log_prob == pytest.approx(math.log([0.5, 0.3][raw.token_id]), abs=1e-6)
    assert [token_id for token_id, _ in raw.alternatives] == [0, 1, 2]
    asked = SamplingParams(seed=1, top_k=2, temperature=0.5, logprobs=3, processed_logprobs=True)
    processed = Sampler(asked, []).choose(row)
    assert [token_id for token_id, _ in processed.alternatives] == [0, 1]
    assert [math.exp(log_prob) for _, log_prob in processed.alternatives] == pytest.approx([25 / 34, 9 / 34])


def test_without_logprobs_none_are_computed() -> None:
    chosen = Sampler(SamplingParams(temperature=0.0), []).choose(LOGITS[0])
    assert (chosen.log_prob, chosen.alternatives) == (None, ())


def test_the_chosen_token_is_always_among_the_alternatives() -> None:
    distribution = Distribution.from_logits(np.log([0.5, 0.3, 0.2]))
    scored = score_token(distribution, 2, num_alternatives=1)
    assert [token_id for token_id, _ in scored.alternatives] == [0, 2]
    assert [token_id for token_id, _ in score_token(distribution, 0, num_alternatives=1).alternatives] == [0]
    assert score_token(distribution, 2).alternatives == ((2, scored.log_prob),)
