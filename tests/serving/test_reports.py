"""What an answer reports beside its text where vLLM's and llama.cpp's clients ask for it, and how the text ends."""

from __future__ import annotations

from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend, serving

PATH, CHAT = "/v1/completions", "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "abc"}]


@pytest.mark.parametrize(("logprobs", "count"), [(None, 0), (None, 3), (1, 3), (4, 2)])
def test_prompt_log_probabilities_are_those_of_echo(client: Client, logprobs: int | None, count: int) -> None:
    echoed = client.complete("abcd", max_tokens=0, echo=True, logprobs=20)["choices"][0]["logprobs"]
    plain = client.complete("abcd", max_tokens=4, seed=1, logprobs=logprobs)["choices"][0]
    (choice,) = client.complete("abcd", max_tokens=4, seed=1, logprobs=logprobs, prompt_logprobs=count)["choices"]
    found = choice.pop("prompt_logprobs")
    assert choice == plain
    assert found[0] is None
    for token_id, value, by_id in zip(b"abcd", echoed["token_logprobs"], found, strict=True):
        if by_id is not None:
            assert by_id[str(token_id)]["logprob"] == value
            best = sorted((one["logprob"] for one in by_id.values()), reverse=True)
            assert len(by_id) in (count, count + 1)
            ranks = [one["rank"] for one in by_id.values()]
            assert ranks[:count] == list(range(1, count + 1))
            assert [one["logprob"] for one in by_id.values()] == best


def test_a_chat_has_the_log_probabilities_of_its_whole_prompt(client: Client, lm: nw.LanguageModel) -> None:
    answer = client.post(CHAT, {"messages": MESSAGES, "max_tokens": 2, "prompt_logprobs": 0}).json
    prompt = lm.tokenizer.encode_chat(MESSAGES)
    assert [list(one or {}) for one in answer["prompt_logprobs"][1:]] == [[str(one)] for one in prompt[1:]]
    refused = client.post(CHAT, {"messages": MESSAGES, "prompt_logprobs": 0, "stream": True})
    assert (refused.status, refused.error["param"]) == (400, "prompt_logprobs")


def test_a_stop_string_is_shown_where_asked_for(client: Client, lm: nw.LanguageModel) -> None:
    whole = lm.generate("ab", max_tokens=30, seed=4).text
    stop = whole[5:7]
    asked: dict[str, Any] = {"max_tokens": 30, "seed": 4, "stop": [stop]}
    begin = whole[: whole.index(stop)]
    assert client.complete("ab", **asked)["choices"][0]["text"] == begin
    shown = client.complete("ab", **asked, include_stop_str_in_output=True)["choices"][0]
    assert (shown["text"], shown["finish_reason"]) == (begin + stop, "stop")
    chunks = client.stream(PATH, {"prompt": "ab", **asked, "include_stop_str_in_output": True, "logprobs": 0})
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == begin + stop
    names = [name for chunk in chunks for name in (chunk["choices"][0]["logprobs"] or {"tokens": []})["tokens"]]
    assert "".join(names) == begin + stop


def test_control_tokens_are_shown_where_asked_for(client: Client, lm: nw.LanguageModel) -> None:
    prompt = [97, 256, 98]
    asked: dict[str, Any] = {"max_tokens": 3, "echo": True, "seed": 2, "logit_bias": {"256": 1000}, "ignore_eos": True}
    name = lm.tokenizer.token_text(256)
    assert client.complete(prompt, **asked)["choices"][0]["text"] == "ab"
    shown = client.complete(prompt, **asked, skip_special_tokens=False, logprobs=0)["choices"][0]
    assert shown["text"] == f"a{name}b{name * 3}" == "".join(shown["logprobs"]["tokens"])


def test_only_allowed_tokens_are_drawn(client: Client, lm: nw.LanguageModel) -> None:
    allowed = [97, 98, 99]
    biases = {one: float("-inf") for one in range(257) if one not in allowed}
    expected = lm.generate("ab", max_tokens=12, seed=1, logit_bias={**biases, 97: 1.5}).text
    found = client.complete("ab", max_tokens=12, seed=1, allowed_token_ids=allowed, logit_bias={"97": 1.5})
    assert found["choices"][0]["text"] == expected
    assert set(expected) <= set("abc")
    for wrong in ([], [257], [-1], ["a"]):
        answer = client.post(PATH, {"prompt": "ab", "allowed_token_ids": wrong})
        assert (answer.status, answer.error["param"]) == (400, "allowed_token_ids"), wrong


def test_timings_come_with_each_chunk_and_with_the_whole_answer(client: Client) -> None:
    asked = {"messages": MESSAGES, "max_tokens": 5, "timings_per_token": True}
    whole = client.post(CHAT, asked).json
    assert whole["timings"]["predicted_n"] == whole["usage"]["completion_tokens"]
    used = whole["usage"]
    prompt = whole["timings"]["prompt_n"] + whole["timings"]["cache_n"]
    assert prompt == used["prompt_tokens"]
    first, *chunks = client.stream(CHAT, {**asked, "stream_options": {"include_usage": True}})
    assert "timings" not in first
    assert all(chunk["timings"]["predicted_ms"] >= 0 for chunk in chunks)
    assert [chunk["timings"]["predicted_n"] for chunk in chunks] == sorted(
        chunk["timings"]["predicted_n"] for chunk in chunks
    )
    events = client.stream("/v1/responses", {"input": "abc", "max_output_tokens": 4, "timings_per_token": True})
    assert events[-1]["timings"]["predicted_n"] == events[-1]["response"]["usage"]["output_tokens"]


@pytest.mark.parametrize("path", [PATH, CHAT, "/v1/responses"])
def test_the_progress_of_a_long_prompt_is_told(lm: nw.LanguageModel, path: str) -> None:
    text = "a" * 2000
    bodies: dict[str, Any] = {
        PATH: {"prompt": text},
        CHAT: {"messages": [{"role": "user", "content": text}]},
        "/v1/responses": {"input": text},
    }
    limit = {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 3}
    with serving(lm, FaultyBackend(delay=0.01)) as (_, client):
        chunks = client.stream(path, {**bodies[path], **limit, "return_progress": True})
    found = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert len(found) > 2
    assert found[0]["processed"] == found[0]["cache"]
    processed = [one["processed"] for one in found]
    assert processed == sorted(set(processed))
    assert all(one["total"] == processed[-1] >= 2000 for one in found)


def test_a_request_is_named_in_its_body(client: Client) -> None:
    answer = client.post(PATH, {"prompt": "a", "max_tokens": 1, "request_id": "mine-1"}, x_request_id="other")
    assert answer.headers["x-request-id"] == "mine-1"
    answer = client.post(PATH, {"prompt": "a", "request_id": "a\r\nb"})
    assert (answer.status, answer.error["param"]) == (400, "request_id")
