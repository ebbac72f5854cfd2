"""Each field that OpenAI's client can send is served, has no effect, or is refused by name.

The client's own types are the list: a version of it with a field that no table here has fails these tests.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import pytest
from openai.types import completion_create_params
from openai.types.chat import ChatCompletionContentPartParam
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import (
    ResponseIncludable,
    ResponseInputContentParam,
    ResponseInputItemParam,
    ToolParam,
    response_create_params,
)

from tests.serving.client import Client

COMPLETIONS, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"
PARAMS: Mapping[str, Any] = {
    COMPLETIONS: completion_create_params,
    CHAT: chat_create_params,
    RESPONSES: response_create_params,
}
MESSAGES = [{"role": "user", "content": "ab"}]
BODIES: Mapping[str, dict[str, Any]] = {
    COMPLETIONS: {"model": "tiny", "prompt": "ab", "max_tokens": 4, "seed": 3},
    CHAT: {"model": "tiny", "messages": MESSAGES, "max_tokens": 4, "seed": 3},
    RESPONSES: {"model": "tiny", "input": "ab", "max_output_tokens": 4, "seed": 3},
}
_SAMPLING = {"temperature": 0.5, "top_p": 0.5}
_OF_TEXTS = {"frequency_penalty": 0.5, "presence_penalty": 0.5, "logit_bias": {"97": 5}, "n": 2, "seed": 1}
_OF_TEXTS |= {"stop": ["a"], "max_tokens": 3, "stream": False}
_TOOLS = {"tools": [], "tool_choice": "none", "parallel_tool_calls": False}
SERVED: Mapping[str, dict[str, Any]] = {
    COMPLETIONS: {
        "model": "tiny",
        "prompt": "ab",
        **_SAMPLING,
        **_OF_TEXTS,
        "best_of": 1,
        "echo": True,
        "logprobs": 2,
        "stream_options": None,
    },
    CHAT: {
        "model": "tiny",
        "messages": MESSAGES,
        **_SAMPLING,
        **_OF_TEXTS,
        **_TOOLS,
        "logprobs": True,
        "top_logprobs": None,
        "max_completion_tokens": 3,
        "stream_options": None,
        "prediction": {"type": "content", "content": "ab"},
        "response_format": {"type": "json_object"},
    },
    RESPONSES: {
        "model": "tiny",
        "input": "ab",
        **_SAMPLING,
        **_TOOLS,
        "stream": False,
        "stream_options": None,
        "include": ["message.output_text.logprobs"],
        "instructions": "Be brief.",
        "max_output_tokens": 3,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "top_logprobs": 2,
    },
}
"""A value by the field."""
_ACCOUNTS = {"user": "a", "metadata": {"a": "b"}, "safety_identifier": "a", "service_tier": "auto", "store": True}
_ACCOUNTS |= {"prompt_cache_key": "a", "prompt_cache_retention": "24h"}
_ACCOUNTS |= {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}
WITHOUT_EFFECT: Mapping[str, dict[str, Any]] = {
    COMPLETIONS: {"user": "a"},
    CHAT: {**_ACCOUNTS, "reasoning_effort": "low", "verbosity": "low", "modalities": ["text"]},
    RESPONSES: {
        **_ACCOUNTS,
        "access_programs": {"cyber": "standard"},
        "max_tool_calls": 3,
        "reasoning": {"effort": "low"},
        "background": False,
        "truncation": "disabled",
    },
}
REFUSED: Mapping[str, dict[str, Any]] = {
    COMPLETIONS: {"suffix": "a"},
    CHAT: {
        "audio": {"voice": "ash", "format": "wav"},
        "modalities": ["text", "audio"],
        "web_search_options": {},
        "functions": [{"name": "f"}],
        "function_call": "auto",
        "moderation": {"model": "a"},
    },
    RESPONSES: {
        "previous_response_id": "resp_1",
        "conversation": "conv_1",
        "prompt": {"id": "pmpt_1"},
        "background": True,
        "background_options": {"completion_window": "8h"},
        "truncation": "auto",
        "context_management": [{"type": "compaction"}],
        "image": {"context_compression": "enabled"},
        "moderation": {"model": "a"},
    },
}


def cases(table: Mapping[str, dict[str, Any]]) -> list[tuple[str, str, Any]]:
    return [(path, name, value) for path, fields in table.items() for name, value in fields.items()]


@pytest.mark.parametrize("path", PARAMS)
def test_the_tables_have_each_field_of_the_client(path: str) -> None:
    module = PARAMS[path]
    kinds = [kind for name, kind in vars(module).items() if name.endswith(("ParamsNonStreaming", "ParamsStreaming"))]
    assert len(kinds) == 2
    known = {name for kind in kinds for name in kind.__annotations__}
    assert known == SERVED[path].keys() | WITHOUT_EFFECT[path].keys() | REFUSED[path].keys()


@pytest.mark.parametrize(("path", "name", "value"), cases(SERVED))
def test_a_field_that_is_served_is_taken(client: Client, path: str, name: str, value: Any) -> None:
    answer = client.post(path, {**BODIES[path], name: value})
    assert answer.status == 200, answer.body


def text_of(client: Client, path: str, body: Mapping[str, Any]) -> Any:
    answer = client.post(path, body)
    assert answer.status == 200, answer.body
    if path == RESPONSES:
        return [part["text"] for item in answer.json["output"] for part in item["content"]]
    return [choice.get("text", choice.get("message")) for choice in answer.json["choices"]]


@pytest.mark.parametrize(("path", "name", "value"), cases(WITHOUT_EFFECT))
def test_a_field_without_effect_changes_no_text(client: Client, path: str, name: str, value: Any) -> None:
    assert text_of(client, path, {**BODIES[path], name: value}) == text_of(client, path, BODIES[path])


@pytest.mark.parametrize(("path", "name", "value"), cases(REFUSED))
def test_a_field_that_is_not_served_is_refused_by_name(client: Client, path: str, name: str, value: Any) -> None:
    answer = client.post(path, {**BODIES[path], name: value})
    assert (answer.status, answer.error["param"]) == (400, name)
    assert "is not served here; " in answer.error["message"]


def kinds_of(union: Any) -> list[str]:
    """Return the values of `type` in the members of a union."""
    found: list[str] = []
    for member in typing.get_args(union):
        hint = typing.get_type_hints(member).get("type")
        found += typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    return sorted(set(found))


@pytest.mark.parametrize("kind", kinds_of(ChatCompletionContentPartParam))
def test_a_message_has_parts_of_text_alone(client: Client, kind: str) -> None:
    answer = client.post(
        CHAT, {**BODIES[CHAT], "messages": [{"role": "user", "content": [{"type": kind, "text": "a"}]}]}
    )
    if kind == "text":
        assert answer.status == 200
    else:
        assert (answer.status, answer.error["param"]) == (400, "messages")
        assert kind in answer.error["message"]


@pytest.mark.parametrize("kind", kinds_of(ResponseInputContentParam))
def test_an_item_has_parts_of_text_alone(client: Client, kind: str) -> None:
    item = {"role": "user", "content": [{"type": kind, "text": "a"}]}
    answer = client.post(RESPONSES, {**BODIES[RESPONSES], "input": [item]})
    if kind == "input_text":
        assert answer.status == 200
    else:
        assert (answer.status, answer.error["param"]) == (400, "input")
        assert kind in answer.error["message"]


ITEMS: Mapping[str, dict[str, Any]] = {
    "message": {"role": "user", "content": "ab"},
    "function_call": {"call_id": "c", "name": "f", "arguments": "{}"},
    "function_call_output": {"call_id": "c", "output": "1"},
    "reasoning": {"id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
}
"""Items that are served, by their type."""


@pytest.mark.parametrize("kind", kinds_of(ResponseInputItemParam))
def test_items_of_other_kinds_are_refused_by_name(client: Client, kind: str) -> None:
    items = [{"role": "user", "content": "ab"}, {"type": kind, **ITEMS.get(kind, {"id": "a"})}]
    answer = client.post(RESPONSES, {**BODIES[RESPONSES], "input": items})
    if kind in ITEMS:
        assert answer.status == 200 or "does not show" in answer.error["message"], answer.body
    else:
        assert (answer.status, answer.error["param"]) == (400, "input")
        assert kind in answer.error["message"]


@pytest.mark.parametrize("kind", kinds_of(ToolParam))
def test_tools_that_are_no_functions_are_refused_by_name(client: Client, kind: str) -> None:
    answer = client.post(RESPONSES, {**BODIES[RESPONSES], "tools": [{"type": kind, "name": "f", "parameters": {}}]})
    assert (answer.status, answer.error["param"]) == (400, "tools")
    message = answer.error["message"]
    assert "does not show tools" in message if kind == "function" else kind in message


@pytest.mark.parametrize("name", typing.get_args(ResponseIncludable))
def test_what_else_may_be_included_is_refused_by_name(client: Client, name: str) -> None:
    answer = client.post(RESPONSES, {**BODIES[RESPONSES], "include": [name]})
    if name == "message.output_text.logprobs":
        assert answer.status == 200
    else:
        assert (answer.status, answer.error["param"]) == (400, "include")
        assert name in answer.error["message"]
