"""`/v1/responses`: the answers of chats, as OpenAI's client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import nextword as nw
from nextword.serving.limits import Limits
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend, serving
from tests.tool_templates import TEMPLATES, model_that_writes, weather

openai = pytest.importorskip("openai")
MESSAGES = [{"role": "user", "content": "ab"}]


def test_a_response_is_the_answer_of_a_chat(client: Client, lm: nw.LanguageModel) -> None:
    for params in ({"seed": 3}, {"seed": 3, "logit_bias": {"256": 100}}):
        bias = {int(key): value for key, value in params.get("logit_bias", {}).items()}  # type: ignore[attr-defined]
        expected = lm.chat(MESSAGES, max_tokens=8, seed=3, logit_bias=bias).text
        with openai.OpenAI(base_url=f"{client.url}/v1", api_key="none") as sync:
            asked: dict[str, Any] = {"model": "tiny", "input": "ab", "max_output_tokens": 8, "extra_body": params}
            whole = sync.responses.create(**asked)
            with sync.responses.stream(**asked) as stream:
                events = list(stream)
        final = events[-1].response
        assert whole.output_text == final.output_text == expected
        assert whole.status == final.status == ("completed" if bias else "incomplete")
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type for event in events if event.type != "response.output_text.delta"]
        assert kinds[0] == "response.created"
        assert kinds[-1] == f"response.{whole.status}"


PATH = "/v1/responses"
TOOL = {"type": "function", **weather()["function"]}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>'
THINKS = f"<think>\nHm.\n</think>\n\nLook:\n{CALL}\n{CALL}"


@pytest.fixture(scope="module")
def writer(lm: nw.LanguageModel) -> Iterator[Client]:
    """A client of a model that thinks, says something, and calls two tools."""
    with ServerThread(Service(model_that_writes(lm, TEMPLATES["hermes"], THINKS))) as server:
        yield Client(server.url)


def test_log_probabilities_are_those_of_a_chat(client: Client) -> None:
    asked = {"max_output_tokens": 8, "seed": 3, "top_logprobs": 2, "include": ["message.output_text.logprobs"]}
    expected = client.chat("ab", max_tokens=8, seed=3, logprobs=True, top_logprobs=2)["choices"][0]
    whole = client.post(PATH, {"input": "ab", **asked}).json
    (part,) = whole["output"][0]["content"]
    assert (part["text"], part["logprobs"]) == (expected["message"]["content"], expected["logprobs"]["content"])
    found = client.stream(PATH, {"input": "ab", **asked})
    deltas = [event for event in found if event["type"] == "response.output_text.delta"]
    assert [one for event in deltas for one in event["logprobs"]] == part["logprobs"]
    assert "".join(event["delta"] for event in deltas) == part["text"]
    assert client.post(PATH, {"input": "ab", "max_output_tokens": 2}).json["output"][0]["content"][0]["logprobs"] == []


def test_thoughts_text_and_calls_are_items_in_the_order_of_events(writer: Client) -> None:
    asked = {"input": "?", "tools": [TOOL], "seed": 3}
    whole = writer.post(PATH, asked).json
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert whole["output"][0]["content"][0]["text"] == "Hm."
    assert whole["output"][1]["content"][0]["text"] == "Look:"
    assert whole["output"][2]["arguments"] == '{"city": "Oslo", "days": 3}'
    assert 0 < whole["usage"]["output_tokens_details"]["reasoning_tokens"] < whole["usage"]["output_tokens"]
    events = writer.stream(PATH, asked)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    order = [event["type"].removeprefix("response.") for event in events if not event["type"].endswith("delta")]
    text = ["output_item.added", "content_part.added", "{}_text.done", "content_part.done", "output_item.done"]
    call = ["output_item.added", "function_call_arguments.done", "output_item.done"]
    assert order == [
        *("created", "in_progress"),
        *(name.format("reasoning") for name in text),
        *(name.format("output") for name in text),
        *(*call, *call, "completed"),
    ]
    final = events[-1]["response"]
    assert final["usage"] == whole["usage"]
    assert [one.get("arguments") for one in final["output"]] == [one.get("arguments") for one in whole["output"]]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == final["output"]


def test_openai_s_client_reads_calls_and_sends_their_results(writer: Client) -> None:
    with openai.OpenAI(base_url=f"{writer.url}/v1", api_key="none") as sync:
        asked: dict[str, Any] = {"model": "writer", "input": [{"role": "user", "content": "?"}], "tools": [TOOL]}
        with sync.responses.stream(**asked) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_response()
        assert {"response.function_call_arguments.delta", "response.output_text.delta"} <= kinds
        calls = [item for item in final.output if item.type == "function_call"]
        assert [call.name for call in calls] == ["weather", "weather"]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "5"} for call in calls]
        sent = [*asked["input"], *(item.model_dump(exclude_none=True) for item in final.output), *results]
        again = sync.responses.create(**{**asked, "input": sent}, tool_choice={"type": "function", "name": "weather"})
        assert {item.type for item in again.output} == {"function_call"}


def test_a_form_is_that_of_a_chat(client: Client) -> None:
    form = {"type": "json_schema", "name": "v", "schema": {"enum": ["yes", "no"]}, "strict": True}
    answer = client.post(PATH, {"input": "a", "text": {"format": form}, "max_output_tokens": 9}).json
    assert json.loads(answer["output"][0]["content"][0]["text"]) in ("yes", "no")
    assert answer["text"]["format"] == form


def test_an_error_in_the_middle_is_an_event(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend(delay=0.01), Limits(deadline=0.2)) as (_, client):
        found = client.stream(PATH, {"input": "ab", "logit_bias": {"256": -1000}})
        assert (found[-1]["type"], found[-1]["response"]["status"]) == ("response.failed", "failed")
        assert "within 0.2 s" in found[-1]["response"]["error"]["message"]
        assert client.post(PATH, {"input": "ab", "logit_bias": {"256": -1000}}).error["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call"}]}, "input"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "a", "background": True}, "background"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools"),
        ({"input": "a", "n": 3}, "n"),
        ({"input": "a", "tools": [{"type": "function"}]}, "tools"),
        ({"input": "a", "tool_choice": "required"}, "tool_choice"),
        ({"input": "a" * 99}, "input"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input"),
        ({"input": [{"type": "reasoning", "content": 3}]}, "input"),
        ({"input": [{"type": "reasoning", "content": "a"}]}, "input"),
        ({"input": "a", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "a", "top_logprobs": 21}, "top_logprobs"),
        ({"input": "a", "include": ["file_search_call.results"]}, "include"),
        ({"input": "a", "stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"input": "a", "stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "text.format"),
        ({"input": "a", "text": {"format": {"type": "json_schema", "schema": {"type": "strin"}}}}, "text.format"),
        ({"input": "a", "text": {"form": {}}}, "text.form"),
    ],
)
def test_what_is_not_served_is_refused(client: Client, body: dict[str, Any], param: str) -> None:
    answer = client.post("/v1/responses", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
