"""`/v1/score` and `/v1/distribution`: the figures of `score_continuations`, `next_steps` and `generate`."""

from __future__ import annotations

from typing import Any

import pytest

import nextword as nw
from nextword.inference.continuations import Continuations, score_continuations
from tests.serving.client import Client


def test_continuations_have_the_scores_of_an_evaluation(client: Client, lm: nw.LanguageModel) -> None:
    ids = [lm.tokenizer.encode(text) for text in ("ab", "c", "dé")]
    (expected,) = score_continuations(lm.engine, [Continuations(ids[0], ids[1:])])
    for body in ({"prompt": "ab", "continuations": ["c", "dé"]}, {"prompt": ids[0], "continuations": ids[1:]}):
        found = client.post("/v1/score", body).json
        assert [one["token_logprobs"] for one in found["scores"]] == [one.log_probs.tolist() for one in expected]
        assert [one["is_greedy"] for one in found["scores"]] == [one.is_greedy for one in expected]
        assert found["usage"]["total_tokens"] == 6


def test_each_step_of_sampling_is_shown(client: Client, lm: nw.LanguageModel) -> None:
    params: dict[str, Any] = {"temperature": 0.7, "top_k": 40, "top_p": 0.8}
    expected = lm.next_steps("abc", **params)
    found = client.post("/v1/distribution", {"prompt": "abc", "top": 5, **params}).json
    assert [step["name"] for step in found["steps"]] == list(expected)
    for step, distribution in zip(found["steps"], expected.values(), strict=True):
        assert (step["num_tokens"], step["entropy"]) == (len(distribution), distribution.entropy)
        assert [row["token_id"] for row in step["top"]] == [row.token_id for row in distribution.table(5).rows]
        assert [row["probability"] for row in step["top"]] == [row.probability for row in distribution.table(5).rows]
    masses = [step["mass"] for step in found["steps"]]
    assert masses == sorted(masses, reverse=True)
    assert (masses[0], found["draw"]) == (1.0, None)


@pytest.mark.parametrize("seed", range(8))
def test_the_draw_is_that_of_generate(client: Client, lm: nw.LanguageModel, seed: int) -> None:
    params: dict[str, Any] = {"temperature": 1.3, "top_p": 0.9, "seed": seed, "repetition_penalty": 1.5}
    draw = client.post("/v1/distribution", {"prompt": "abc", **params}).json["draw"]
    assert draw["token_id"] == lm.generate("abc", max_tokens=1, **params).completions[0].tokens[0].token_id
    low, high = draw["interval"]
    assert low - 1e-9 <= draw["number"] <= high + 1e-9


def test_a_conversation_has_a_next_token_as_well(client: Client, lm: nw.LanguageModel) -> None:
    body = {"messages": [{"role": "user", "content": "ab"}], "temperature": 0, "seed": 1}
    found = client.post("/v1/distribution", body).json
    first = lm.chat([{"role": "user", "content": "ab"}], temperature=0, max_tokens=1).completions[0].tokens[0]
    assert found["draw"]["token_id"] == first.token_id


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/score", {"prompt": "ab"}, "continuations"),
        ("/v1/score", {"prompt": "ab", "continuations": []}, "continuations"),
        ("/v1/score", {"prompt": "ab", "continuations": ["a"] * 129}, "continuations"),
        ("/v1/score", {"prompt": "ab", "continuations": [[300]]}, "continuations"),
        ("/v1/score", {"continuations": ["a"]}, "prompt"),
        ("/v1/score", {"prompt": "a", "continuations": ["a" * 100]}, None),
        ("/v1/score", {"prompt": "a", "continuations": [""]}, None),
        ("/v1/distribution", {"prompt": "a", "top": 0}, "top"),
        ("/v1/distribution", {"prompt": ["a", "b"]}, "prompt"),
        ("/v1/distribution", {"prompt": "a", "temprature": 1}, "temprature"),
    ],
)
def test_a_bad_field_is_named(client: Client, path: str, body: dict[str, Any], param: str | None) -> None:
    answer = client.post(path, body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
