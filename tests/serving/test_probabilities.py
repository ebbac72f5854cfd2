"""`/v1/score` and `/v1/distribution`: the figures of `score_continuations`, `next_steps` and `generate`."""

from __future__ import annotations

import math
import re
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


def position(client: Client, body: dict[str, Any]) -> Any:
    """The one position of a distribution."""
    (found,) = client.post("/v1/distribution", body).json["positions"]
    return found


def test_each_step_of_sampling_is_shown(client: Client, lm: nw.LanguageModel) -> None:
    params: dict[str, Any] = {"temperature": 0.7, "top_k": 40, "top_p": 0.8}
    expected = lm.next_steps("abc", **params)
    found = position(client, {"prompt": "abc", "top": 257, **params})
    assert [step["name"] for step in found["steps"]] == list(expected)
    raw = expected["model"]
    for index, (step, distribution) in enumerate(zip(found["steps"], expected.values(), strict=True)):
        assert (step["num_tokens"], step["entropy"]) == (len(distribution), distribution.entropy)
        kept = [one for one in range(257) if distribution.log_prob(one) > -math.inf]
        assert step["mass"] == pytest.approx(math.fsum(math.exp(raw.log_prob(one)) for one in kept), abs=1e-12)
        for row in found["rows"]:
            wanted = math.exp(distribution.log_prob(row["token_id"])) if row["token_id"] in kept else None
            assert row["probabilities"][index] == wanted
    assert [row["token_id"] for row in found["rows"]] == [one for one, _ in raw.most_probable(257)]
    assert [row["rank"] for row in found["rows"]] == list(range(1, 258))
    assert [row["logit"] for row in found["rows"]] == [float(raw.logits[row["token_id"]]) for row in found["rows"]]
    assert (found["position"], found["token"], found["draw"]) == (3, None, None)


def test_a_removed_token_says_by_which_step(client: Client, lm: nw.LanguageModel) -> None:
    params: dict[str, Any] = {"top_k": 20, "min_p": 0.3}
    found = position(client, {"prompt": "abc", "top": 257, **params})
    left = {name: len(step) for name, step in lm.next_steps("abc", **params).items()}
    by_step = [row["removed_by"] for row in found["rows"]]
    assert by_step.count("top_k") == 257 - 20
    assert by_step.count("min_p") == 20 - left["min_p"]
    assert all((row["cumulated"] is None) == (row["removed_by"] is not None) for row in found["rows"])
    intervals = sorted(row["cumulated"] for row in found["rows"] if row["cumulated"])
    assert (intervals[0][0], intervals[-1][1]) == (0.0, 1.0)
    assert [one[1] for one in intervals[:-1]] == [one[0] for one in intervals[1:]]


@pytest.mark.parametrize("seed", range(8))
def test_the_draw_is_that_of_generate(client: Client, lm: nw.LanguageModel, seed: int) -> None:
    params: dict[str, Any] = {"temperature": 1.3, "top_p": 0.9, "seed": seed, "repetition_penalty": 1.5}
    draw = position(client, {"prompt": "abc", **params})["draw"]
    assert draw["token_id"] == lm.generate("abc", max_tokens=1, **params).completions[0].tokens[0].token_id
    low, high = draw["interval"]
    assert low <= draw["number"] < high


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1.7},
        {"presence_penalty": 1.5, "frequency_penalty": 0.7, "top_k": 30},
        {"min_tokens": 12, "logit_bias": {"256": 50.0}},
        {"no_repeat_ngram_size": 1, "xtc_probability": 0.5, "xtc_threshold": 0.01},
        {"dry_multiplier": 3.0, "dry_allowed_length": 1, "repetition_penalty": 1.4, "order": "llama.cpp"},
    ],
)
def test_each_token_of_a_text_has_the_draw_that_chose_it(
    client: Client, lm: nw.LanguageModel, params: dict[str, Any]
) -> None:
    in_python = {**params, "logit_bias": {int(key): value for key, value in params.get("logit_bias", {}).items()}}
    prompt = lm.tokenizer.encode("abcab")
    completions = lm.generate("abcab", max_tokens=12, n=2, seed=5, **in_python).completions
    for sample_index, completion in enumerate(completions):
        text = [*prompt, *(token.token_id for token in completion.tokens)]
        at = list(range(len(prompt), len(text)))
        body = {"prompt": text, "at": at, "prompt_length": len(prompt), "sample_index": sample_index, "seed": 5}
        found = client.post("/v1/distribution", {**body, **params}).json["positions"]
        assert [one["draw"]["token_id"] for one in found] == text[len(prompt) :]
        assert [one["token"]["token_id"] for one in found] == text[len(prompt) :]


def test_tokens_are_found_by_text_and_by_id(client: Client, lm: nw.LanguageModel) -> None:
    found = position(client, {"prompt": "abc", "top": 0, "search": "Q", "show": [200]})
    assert sorted(row["text"] for row in found["rows"][:2]) == ["Q", "q"]
    last = found["rows"][2]
    assert (last["token_id"], last["bytes"]) == (200, [200])
    for row in found["rows"]:
        assert row["probabilities"] == [math.exp(lm.next("abc").log_prob(row["token_id"]))]


def test_other_parameters_take_no_step_of_the_model(client: Client) -> None:
    body: dict[str, Any] = {"prompt": "a text that nothing else asks for", "at": [3, 7, 33]}
    client.post("/v1/distribution", body)
    before = num_steps(client)
    for temperature in (0.0, 0.5, 2.0):
        client.post("/v1/distribution", {**body, "temperature": temperature, "seed": 1})
    assert num_steps(client) == before
    client.post("/v1/distribution", {**body, "at": [4]})
    assert num_steps(client) == before + 1


def num_steps(client: Client) -> float:
    """The counter of steps."""
    (line,) = re.findall(rb"^nextword:model_steps_total (\S+)$", client.get("/metrics").body, flags=re.MULTILINE)
    return float(line)


def test_a_token_in_the_text_has_its_rank(client: Client, lm: nw.LanguageModel) -> None:
    found = client.post("/v1/distribution", {"prompt": "abcdef", "at": [5, 2]}).json["positions"]
    assert [one["position"] for one in found] == [5, 2]
    for one in found:
        before = lm.next("abcdef"[: one["position"]])
        ranked = [token_id for token_id, _ in before.most_probable(257)]
        token_id = b"abcdef"[one["position"]]
        expected = {"token_id": token_id, "text": chr(token_id), "log_prob": before.log_prob(token_id)}
        assert one["token"] == {**expected, "rank": ranked.index(token_id) + 1, "entropy": before.entropy}


def test_a_conversation_has_a_next_token_as_well(client: Client, lm: nw.LanguageModel) -> None:
    body = {"messages": [{"role": "user", "content": "ab"}], "temperature": 0, "seed": 1}
    first = lm.chat([{"role": "user", "content": "ab"}], temperature=0, max_tokens=1).completions[0].tokens[0]
    draw = position(client, body)["draw"]
    assert (draw["token_id"], draw["interval"]) == (first.token_id, [0.0, 1.0])


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/score", {"prompt": "ab"}, "continuations"),
        ("/v1/score", {"prompt": "ab", "continuations": []}, "continuations"),
        ("/v1/score", {"prompt": "ab", "continuations": ["a"] * 129}, "continuations"),
        ("/v1/score", {"prompt": "ab", "continuations": [[300]]}, "continuations"),
        ("/v1/score", {"continuations": ["a"]}, "prompt"),
        ("/v1/score", {"prompt": "a", "continuations": ["a" * 100]}, "continuations"),
        ("/v1/score", {"prompt": "a", "continuations": [""]}, "continuations"),
        ("/v1/distribution", {"prompt": "a", "top": 0}, "top"),
        ("/v1/distribution", {"prompt": "a", "top": 1001}, "top"),
        ("/v1/distribution", {"prompt": ["a", "b"]}, "prompt"),
        ("/v1/distribution", {"prompt": "a", "at": "first"}, "at"),
        ("/v1/distribution", {"prompt": "a", "at": []}, "at"),
        ("/v1/distribution", {"prompt": "a", "at": [0]}, "at"),
        ("/v1/distribution", {"prompt": "a", "at": [2]}, "at"),
        ("/v1/distribution", {"prompt": "a", "at": [True]}, "at"),
        ("/v1/distribution", {"prompt": "a", "at": [1] * 65}, "at"),
        ("/v1/distribution", {"prompt": "a", "at": [1] * 64, "top": 1000}, "at"),
        ("/v1/distribution", {"prompt": "a", "show": [257]}, "show"),
        ("/v1/distribution", {"prompt": "a", "show": 3}, "show"),
        ("/v1/distribution", {"prompt": "a", "search": "x" * 257}, "search"),
        ("/v1/distribution", {"prompt": "a", "prompt_length": 2}, "prompt_length"),
        ("/v1/distribution", {"prompt": "a", "sample_index": 16}, "sample_index"),
        ("/v1/distribution", {"prompt": "a", "regex": "b+"}, "regex"),
        ("/v1/distribution", {"prompt": "a", "num_beams": 2}, "num_beams"),
        ("/v1/distribution", {"prompt": "ab", "mirostat_tau": 3, "at": [2], "prompt_length": 1}, "mirostat_tau"),
        ("/v1/distribution", {"prompt": "a", "temprature": 1}, "temprature"),
    ],
)
def test_a_bad_field_is_named(client: Client, path: str, body: dict[str, Any], param: str | None) -> None:
    answer = client.post(path, body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
