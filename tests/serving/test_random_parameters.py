"""`/v1/distribution` under random parameters of every kind: the figures of `next_steps`, the draws of `generate`."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nextword as nw
from nextword.lab.controls import controls
from tests.serving.client import Client

PROMPT = "abcabcab, de"


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "temperature": numbers(0, 2),
    "dynatemp_range": numbers(0, 1),
    "dynatemp_exponent": numbers(0.1, 3),
    "top_k": st.integers(0, 257),
    "top_p": numbers(0.05, 1),
    "min_p": numbers(0, 1),
    "typical_p": numbers(0.05, 1),
    "epsilon_cutoff": numbers(0, 0.1),
    "eta_cutoff": numbers(0, 0.1),
    "top_n_sigma": numbers(0, 4),
    "p_less": st.booleans(),
    "xtc_probability": st.sampled_from([0.0, 0.5, 1.0]),
    "xtc_threshold": numbers(0, 0.5),
    "mirostat_tau": st.sampled_from([0.0, 3.0, 6.0]),
    "mirostat_eta": numbers(0, 1),
    "repetition_penalty": numbers(0.5, 2),
    "presence_penalty": numbers(-2, 2),
    "frequency_penalty": numbers(-2, 2),
    "no_repeat_ngram_size": st.integers(0, 4),
    "dry_multiplier": numbers(0, 3),
    "dry_base": numbers(1, 2),
    "dry_allowed_length": st.integers(1, 3),
    "dry_range": st.integers(1, 20),
    "min_tokens": st.integers(0, 12),
    "logit_bias": st.dictionaries(st.integers(0, 256), numbers(-100, 100), max_size=4),
    "stop_token_ids": st.lists(st.integers(0, 256), max_size=2),
    "order": st.sampled_from(["transformers", "llama.cpp"]),
}


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    """Up to six parameters with values, and a seed."""
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=6, unique=True))
    return {**{name: draw(KINDS[name]) for name in names}, "seed": draw(st.integers(0, 2**40))}


def body_of(params: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The parameters as JSON has them."""
    biases = {str(token_id): value for token_id, value in params.get("logit_bias", {}).items()}
    return {**params, **({"logit_bias": biases} if biases else {}), **others}


def test_each_control_of_the_lab_is_among_them(lm: nw.LanguageModel) -> None:
    assert {one["name"] for one in controls(lm.params())} <= KINDS.keys()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(params=parameters())
def test_steps_and_rows_are_those_of_python(client: Client, lm: nw.LanguageModel, params: dict[str, Any]) -> None:
    expected = lm.next_steps(PROMPT, max_tokens=20, **params)
    answer = client.post("/v1/distribution", body_of(params, prompt=PROMPT, top=257))
    assert answer.status == 200, answer.body
    (found,) = answer.json["positions"]
    assert [step["name"] for step in found["steps"]] == list(expected)
    assert [step["entropy"] for step in found["steps"]] == [step.entropy for step in expected.values()]
    assert [step["num_tokens"] for step in found["steps"]] == [len(step) for step in expected.values()]
    for row in found["rows"]:
        log_probs = [step.log_prob(row["token_id"]) for step in expected.values()]
        assert row["probabilities"] == [None if one == -math.inf else math.exp(one) for one in log_probs]
        removing = [name for name, one in zip(expected, log_probs, strict=True) if one == -math.inf]
        assert row["removed_by"] == (removing[0] if removing else None)
    assert len(found["rows"]) == 257


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(params=parameters(), n=st.integers(1, 3))
def test_draws_are_the_tokens_of_generate(client: Client, lm: nw.LanguageModel, params: dict[str, Any], n: int) -> None:
    prompt = lm.tokenizer.encode(PROMPT)
    generation = lm.generate(PROMPT, max_tokens=12, n=n, **params)
    for sample_index, completion in enumerate(generation.completions):
        text = [*prompt, *(token.token_id for token in completion.tokens)]
        last = len(prompt) + 1 if params.get("mirostat_tau") else len(text)
        at = list(range(len(prompt), max(last, len(prompt) + 1)))
        asked = body_of(params, prompt=text, at=at, prompt_length=len(prompt), sample_index=sample_index)
        answer = client.post("/v1/distribution", asked)
        assert answer.status == 200, answer.body
        draws = [one["draw"]["token_id"] for one in answer.json["positions"]]
        assert draws[: len(text) - len(prompt)] == text[len(prompt) : last]
