"""What the tests of llama.cpp's server and of vLLM's ask of a server, those included that they skip as not certain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "ab"}]
PROMPTS = ["a", "ab", "the river", "été", "x" * 30]


def test_texts_do_not_depend_on_what_is_cached(client: Client) -> None:
    """llama.cpp skips this where its sums differ between a cached prompt and a computed one."""
    asked = {"max_tokens": 12, "temperature": 1.0, "seed": 9, "logprobs": 3}
    prompt = "the mill stood by the river"
    first = client.complete(prompt, **asked)["choices"][0]
    client.complete(prompt + " and", **asked)
    again = client.complete(prompt, **asked)["choices"][0]
    assert (again["text"], again["logprobs"]) == (first["text"], first["logprobs"])
    assert client.complete(prompt, cache_prompt=False, **asked)["choices"][0]["logprobs"] == first["logprobs"]


def test_texts_at_temperature_1_do_not_depend_on_neighbours(client: Client) -> None:
    """llama.cpp tests it at temperature 0 alone."""

    def ask(number: int) -> Any:
        asked = {"max_tokens": 10, "temperature": 1.0, "seed": number % 5, "logprobs": 1}
        choice = client.complete(PROMPTS[number % len(PROMPTS)], **asked)["choices"][0]
        return choice["text"], choice["logprobs"]

    alone = [ask(number) for number in range(len(PROMPTS))]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(40))) == alone * 8


def test_prompts_of_one_request_have_the_texts_of_requests_of_their_own(client: Client) -> None:
    asked = {"max_tokens": 8, "seed": 4}
    together = [choice["text"] for choice in client.complete(PROMPTS, **asked)["choices"]]
    assert together == [client.complete(prompt, **asked)["choices"][0]["text"] for prompt in PROMPTS]


def test_a_bias_forces_and_forbids_a_token(client: Client) -> None:
    forced = client.complete("ab", max_tokens=5, logit_bias={"97": 100}, temperature=0)["choices"][0]
    assert forced["text"] == "aaaaa"
    first = client.complete("ab", max_tokens=1, temperature=0, return_token_ids=True)["choices"][0]["token_ids"][0]
    others = client.complete("ab", max_tokens=1, temperature=0, logit_bias={str(first): -100}, return_token_ids=True)
    assert others["choices"][0]["token_ids"] != [first]


@pytest.mark.parametrize(("count", "status"), [(0, 200), (5, 200), (20, 200), (21, 400), (-1, 400)])
def test_alternatives_are_bounded(client: Client, count: int, status: int) -> None:
    answer = client.post(COMPLETIONS, {"prompt": "ab", "max_tokens": 2, "logprobs": count})
    assert answer.status == status
    if status == 200:
        tops = answer.json["choices"][0]["logprobs"]["top_logprobs"]
        assert all(len(top) <= count + 1 for top in tops)
    asked = {"messages": MESSAGES, "max_tokens": 2, "logprobs": True, "top_logprobs": count}
    answer = client.post(CHAT, asked)
    assert answer.status == status
    if status == 200:
        assert all(len(one["top_logprobs"]) == count for one in answer.json["choices"][0]["logprobs"]["content"])


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"null", b'"a"', b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 10_000])
def test_a_body_that_is_no_object_is_refused(client: Client, path: str, body: bytes) -> None:
    answer = client.post(path, body)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/nowhere"}}}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": "x"}},
        {"response_format": {}},
        {"response_format": "json"},
        {"structured_outputs": {"regex": "(["}},
        {"structured_outputs": {"grammar": "root ::= nowhere"}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {}},
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_form_that_cannot_be_is_refused(client: Client, form: dict[str, Any], is_streamed: bool) -> None:
    answer = client.post(CHAT, {"messages": MESSAGES, "max_tokens": 4, "stream": is_streamed, **form})
    assert answer.status == 400, answer.body
    assert len(answer.body) < 2000


def test_an_empty_object_and_a_schema_are_followed(client: Client) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    asked = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}}
    for seed in range(4):
        choice = client.chat("ab", max_tokens=40, seed=seed, **asked)["choices"][0]
        if choice["finish_reason"] == "stop":
            assert choice["message"]["content"].replace(" ", "").replace("\n", "") in ('{"a":1}', '{"a":2}')


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_usage_of_a_stream_is_that_of_a_whole_answer(client: Client, path: str) -> None:
    asked: dict[str, Any] = {"messages": MESSAGES} if path == CHAT else {"prompt": "ab"}
    asked |= {"max_tokens": 6, "seed": 2, "n": 3}
    whole = client.post(path, asked).json["usage"]
    usage = client.stream(path, {**asked, "stream_options": {"include_usage": True}})[-1]["usage"]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert usage[name] == whole[name]
    assert all("usage" not in chunk for chunk in client.stream(path, asked))


def test_texts_of_tokens_join_to_the_answer_and_their_bytes_to_its_bytes(client: Client) -> None:
    for seed in range(10):
        choice = client.chat("ab", max_tokens=12, seed=seed, logprobs=True)["choices"][0]
        content = choice["logprobs"]["content"]
        joined = bytes(byte for one in content for byte in one["bytes"]).decode(errors="replace")
        assert "".join(one["token"] for one in content) == choice["message"]["content"]
        if choice["finish_detail"] == "max_tokens":
            assert joined.rstrip("\ufffd") == choice["message"]["content"].rstrip("\ufffd")


def test_parts_of_text_are_lines(client: Client) -> None:
    """As vLLM and llama.cpp join them where the template reads texts."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = {"max_tokens": 6, "seed": 1}
    answer = client.post(CHAT, {"messages": [{"role": "user", "content": parts}], **asked})
    assert answer.status == 200, answer.body
    whole = client.chat("a\nb", **asked)
    assert answer.json["choices"][0]["message"] == whole["choices"][0]["message"]


def test_offsets_are_the_same_where_a_stop_holds_text_back(client: Client, lm: nw.LanguageModel) -> None:
    asked = {"max_tokens": 10, "logit_bias": {"97": 100}, "temperature": 0, "stop": ["aaaaaaaaaab"], "logprobs": 1}
    whole = client.complete("ab", **asked)["choices"][0]["logprobs"]["text_offset"]
    chunks = client.stream(COMPLETIONS, {"prompt": "ab", **asked})
    parts = [choice["logprobs"] for chunk in chunks for choice in chunk["choices"] if choice["logprobs"]]
    assert [offset for part in parts for offset in part["text_offset"]] == whole == list(range(10))


def test_routes_that_are_not_served_are_said_to_be_so(client: Client) -> None:
    for path in ("/v1/embeddings", "/v1/rerank", "/infill", "/v1/audio/speech"):
        answer = client.post(path, {})
        assert (answer.status, answer.error["type"]) == (404, "not_found_error")
    assert client.get(COMPLETIONS).status == 405
