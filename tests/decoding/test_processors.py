from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextword.decoding.distribution import Distribution
from nextword.decoding.mask import packed
from nextword.decoding.params import ProcessorOrder, SamplingParams
from nextword.decoding.processors import (
    ORDERS,
    STEPS,
    active_steps,
    keep_allowed,
    penalized_logits,
    processed_distribution,
    seen_tokens,
    stages,
)
from nextword.errors import RequestError
from tests.decoding import oracle


def row(*logits: float) -> NDArray[np.float32]:
    return np.array(logits, dtype=np.float32)


def penalized(logits: NDArray[np.float32], params: SamplingParams, prompt: list[int], output: list[int]) -> list[float]:
    seen = seen_tokens(prompt, params)
    for token_id in output:
        seen.append(token_id)
    before = logits.copy()
    result = penalized_logits(logits, params, seen, end_token_ids=(0,))
    np.testing.assert_array_equal(logits, before)
    return [float(logit) for logit in result]


def kept(logits: NDArray[np.float32], params: SamplingParams) -> list[int]:
    return processed_distribution(logits, params, seen_tokens([], params)).token_ids.tolist()  # type: ignore[no-any-return]


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits_of_prompt_and_output() -> None:
    params = SamplingParams(repetition_penalty=2.0)
    assert penalized(row(4, 4, -4, -4, 0), params, [1, 1, 2], [4]) == [4, 2, -8, -4, 0]


def test_presence_and_frequency_penalties_look_at_the_output_only() -> None:
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=1.0)
    assert penalized(row(4, 4, 4), params, [0, 0], [1, 1, 2]) == [4, 1.5, 2.5]


def test_negative_penalties_make_repetition_more_likely() -> None:
    assert penalized(row(4, 4), SamplingParams(frequency_penalty=-1.0), [], [1, 1]) == [4, 6]


def test_logit_bias_comes_before_the_penalties() -> None:
    params = SamplingParams(logit_bias={1: 3.0}, repetition_penalty=2.0)
    assert penalized(row(0, -1), params, [1], []) == [0, 1]  # (-1 + 3) / 2, not -1 * 2 + 3


def test_logit_bias_of_minus_infinity_forbids() -> None:
    assert kept(row(1, 2, 3), SamplingParams(logit_bias={2: -math.inf})) == [0, 1]


def test_logit_bias_for_an_unknown_token_is_refused() -> None:
    with pytest.raises(RequestError, match="logit_bias for token id 3: the vocabulary ends at 2"):
        kept(row(1, 2, 3), SamplingParams(logit_bias={3: 1.0}))


def test_no_repeat_ngram_forbids_what_would_repeat_one() -> None:
    params = SamplingParams(no_repeat_ngram_size=2)
    assert penalized(row(1, 1, 1), params, [1, 2, 1, 0], [1]) == [-math.inf, 1, -math.inf]


def test_min_tokens_forbids_end_and_stop_tokens_until_enough_are_generated() -> None:
    params = SamplingParams(min_tokens=2, stop_token_ids=(2,))
    assert penalized(row(1, 1, 1), params, [1, 1, 1], [1]) == [-math.inf, 1, -math.inf]
    assert penalized(row(1, 1, 1), params, [], [1, 1]) == [1, 1, 1]


def test_without_penalties_the_very_array_is_used() -> None:
    logits = row(1, 2)
    assert penalized_logits(logits, SamplingParams(), seen_tokens([1], SamplingParams())) is logits


def test_nothing_left_to_choose_is_an_error() -> None:
    with pytest.raises(RequestError, match="every token is forbidden"):
        kept(row(1, 2), SamplingParams(logit_bias={0: -math.inf, 1: -math.inf}))


@pytest.mark.parametrize("order", list(ORDERS))
def test_every_order_has_every_step_once(order: ProcessorOrder) -> None:
    assert sorted(ORDERS[order]) == sorted(STEPS)


@pytest.mark.parametrize("order", list(ORDERS))
def test_temperature_zero_is_greedy_in_every_order_and_with_every_truncation(order: ProcessorOrder) -> None:
    params = SamplingParams(temperature=0.0, typical_p=0.2, xtc_probability=1.0, top_k=5, order=order)
    logits = row(1.0, 1.2, 1.2, 1.1)
    assert kept(logits, params) == [1]
    assert active_steps(params) == ("temperature",)


def test_llama_cpp_truncates_before_the_temperature() -> None:
    # Survey's worked example: top-p sees 0.665 or, tempered, 0.867 for the first token.
    asked = {"top_p": 0.8, "temperature": 0.5}
    ours = processed(row(3, 2, 1), SamplingParams(**asked))  # type: ignore[arg-type]
    theirs = processed(row(3, 2, 1), SamplingParams(**asked, order="llama.cpp"))  # type: ignore[arg-type]
    assert ours.token_ids.tolist() == [0]
    assert theirs.token_ids.tolist() == [0, 1]
    assert theirs.probabilities()[0] == pytest.approx(1 / (1 + math.exp(-2)))  # 0.8808: tempered after the cut


def processed(logits: NDArray[np.float32], params: SamplingParams, coin: int | None = None) -> Distribution:
    return processed_distribution(logits, params, seen_tokens([], params), coin=coin)


def plain_top_k(probabilities: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    removed = probabilities < np.sort(probabilities)[-k]
    return renormalised(np.where(removed, 0, probabilities))


def plain_top_p(probabilities: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    kept = np.zeros_like(probabilities)
    kept[order[before < p]] = probabilities[order[before < p]]
    return renormalised(kept)


def plain_min_p(probabilities: NDArray[np.float64], min_p: float) -> NDArray[np.float64]:
    return renormalised(np.where(probabilities < min_p * probabilities.max(), 0, probabilities))


def renormalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights / weights.sum()  # type: ignore[no-any-return]


@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.floats(0.3, 3),
    k=st.integers(1, 60),
    p=st.floats(0.1, 0.99),
    min_p=st.floats(0.01, 0.5),
)
@settings(max_examples=100, deadline=None)
def test_orders_are_the_published_formulas(seed: int, temperature: float, k: int, p: float, min_p: float) -> None:
    logits = np.random.default_rng(seed).normal(scale=2, size=60).astype(np.float32)
    tempered, plain = oracle.softmax(logits, temperature), oracle.softmax(logits)
    before_temperature = plain_min_p(plain_top_p(plain_top_k(plain, k), p), min_p)
    expected: dict[ProcessorOrder, NDArray[np.float64]] = {
        "transformers": plain_min_p(plain_top_p(plain_top_k(tempered, k), p), min_p),
        "vllm": plain_top_p(plain_top_k(plain_min_p(tempered, min_p), k), p),
        "llama.cpp": renormalised(before_temperature ** (1 / temperature)),
    }
    for order, probabilities in expected.items():
        params = SamplingParams(temperature=temperature, top_k=k, top_p=p, min_p=min_p, order=order)
        np.testing.assert_allclose(processed(logits, params).probabilities(), probabilities, atol=1e-9)


def test_stages_show_what_each_step_leaves() -> None:
    params = SamplingParams(temperature=0.5, top_k=3, min_p=0.5)
    shown = [(name, len(left)) for name, left in stages(Distribution.from_logits(row(4, 3.9, 2, 1)), params)]
    assert shown == [("temperature", 4), ("top_k", 3), ("min_p", 2)]


def test_xtc_is_done_as_often_as_its_probability_says() -> None:
    params = SamplingParams(xtc_probability=0.25, xtc_threshold=0.1)
    logits = row(2, 1.9, 0)
    sizes = [len(processed(logits, params, coin=int(share * 2**53))) for share in (0.0, 0.2499, 0.2501, 0.999)]
    assert sizes == [2, 2, 3, 3]


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 4097])
def test_tokens_that_are_not_allowed_lose_their_logits_and_the_others_keep_every_bit(size: int) -> None:
    random = np.random.default_rng(size)
    logits = random.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)  # NaN and infinities among them
    for share in (0.0, 0.01, 0.5, 1.0):
        allowed = random.random(size) < share
        expected = np.where(allowed, logits.view(np.uint32), np.float32(-np.inf).view(np.uint32))
        for rows in (logits, np.stack([logits, logits], axis=1)[:, 0]):
            assert (keep_allowed(rows, packed(allowed)).view(np.uint32) == expected).all()
    wide: Any = random.standard_normal(size)  # of another type than its hints say
    assert (keep_allowed(wide, packed(allowed)) == np.where(allowed, wide, -np.inf)).all()
