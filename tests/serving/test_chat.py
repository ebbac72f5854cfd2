"""`/v1/chat/completions`: answers are those of `chat`, streamed or not."""

from __future__ import annotations

from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client

PATH = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "ab"}]


@pytest.mark.parametrize("seed", range(5))
def test_answers_and_log_probabilities_are_those_of_chat(client: Client, lm: nw.LanguageModel, seed: int) -> None:
    params: dict[str, Any] = {"max_tokens": 10, "seed": seed, "n": 2}
    expected = lm.chat(MESSAGES, logprobs=2, **params)
    asked = {**params, "logprobs": True, "top_logprobs": 2}
    whole = client.chat("ab", **asked)
    chunks = client.stream(PATH, {"messages": MESSAGES, **asked})
    for choice, completion in zip(whole["choices"], expected.completions, strict=True):
        assert choice["message"] == {"role": "assistant", "content": completion.text, "refusal": None}
        content = choice["logprobs"]["content"]
        assert [one["logprob"] for one in content] == [token.log_prob for token in completion.tokens]
        assert "".join(one["token"] for one in content) == completion.text
        assert all(len(one["top_logprobs"]) == 2 for one in content)
        parts = [one for chunk in chunks for one in chunk["choices"] if one["index"] == choice["index"]]
        assert "".join(one["delta"].get("content", "") for one in parts) == completion.text
        assert [one for part in parts if part["logprobs"] for one in part["logprobs"]["content"]] == content
        assert parts[0]["delta"] == {"role": "assistant", "content": ""}
        assert (parts[-1]["delta"], parts[-1]["finish_reason"]) == ({}, completion.finish_reason)


def test_without_a_limit_an_answer_ends_with_the_context(client: Client) -> None:
    choice = client.chat("ab", logit_bias={"256": -1000})["choices"][0]
    assert (choice["finish_reason"], choice["finish_detail"]) == ("length", "context")


def test_the_newer_limit_of_tokens_wins(client: Client) -> None:
    assert client.chat("ab", max_tokens=9, max_completion_tokens=2)["usage"]["completion_tokens"] <= 2


def test_the_last_message_is_continued_where_asked_for(client: Client, lm: nw.LanguageModel) -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "cd"}]
    body = {"messages": messages, "continue_final_message": True, "max_tokens": 5, "seed": 3}
    expected = lm.chat(messages, continue_final_message=True, max_tokens=5, seed=3)
    assert client.post(PATH, body).json["choices"][0]["message"]["content"] == expected.answer


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ({"messages": MESSAGES * 1025}, "messages"),
    ({"messages": MESSAGES, "top_logprobs": 3}, "top_logprobs"),
    ({"messages": MESSAGES, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"messages": MESSAGES, "logprobs": 3}, "logprobs"),
    ({"messages": MESSAGES, "max_tokens": 0}, "max_tokens"),
    ({"messages": MESSAGES, "functions": [{"name": "f"}]}, "functions"),
    ({"messages": MESSAGES, "audio": {"voice": "x"}}, "audio"),
    ({"messages": MESSAGES, "chat_template": "{{ 1 }}"}, "chat_template"),
    ({"messages": MESSAGES, "prediction": {"type": "content"}}, "prediction"),
]


@pytest.mark.parametrize(("body", "param"), REFUSED)
def test_a_bad_field_is_named(client: Client, body: dict[str, Any], param: str) -> None:
    answer = client.post(PATH, body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
