"""Tools over HTTP: the calls are those of `chat`, whole and streamed, and OpenAI's client reads them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

import nextword as nw
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Client
from tests.tool_templates import TEMPLATES, XML, model_that_writes, weather

PATH = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "?"}]
TOOLS = [weather(), weather("other")]
ASKED: dict[str, Any] = {"messages": MESSAGES, "tools": TOOLS, "max_tokens": 2000, "seed": 3}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>'
WRITTEN = f"Look:\n{CALL}\n{CALL.replace('weather', 'other')}"
NAMED = {"type": "function", "function": {"name": "other"}}


@pytest.fixture(scope="module")
def writer(lm: nw.LanguageModel) -> nw.LanguageModel:
    """A model that answers with two calls."""
    return model_that_writes(lm, TEMPLATES["hermes"], WRITTEN)


@pytest.fixture(scope="module")
def tools(writer: nw.LanguageModel) -> Iterator[Client]:
    """A client of a server of that model."""
    with ServerThread(Service(writer)) as server:
        yield Client(server.url)


@pytest.fixture(scope="module")
def sync(tools: Client) -> Iterator[openai.OpenAI]:
    """OpenAI's client, which checks the types of what it gets."""
    with openai.OpenAI(base_url=f"{tools.url}/v1", api_key="none", _strict_response_validation=True) as found:
        yield found


def without_ids(calls: Any) -> list[tuple[str, str]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


@pytest.mark.parametrize("choice", [None, "auto", "required", "none", NAMED])
def test_calls_are_those_of_chat(tools: Client, writer: nw.LanguageModel, choice: Any) -> None:
    expected = writer.chat(MESSAGES, tools=TOOLS, tool_choice=choice, max_tokens=2000, seed=3)
    asked = {**ASKED, **({} if choice is None else {"tool_choice": choice})}
    (whole,) = tools.post(PATH, asked).json["choices"]
    message, calls = whole["message"], [(call.name, call.arguments) for call in expected.tool_calls]
    assert message["content"] == (expected.answer or (None if calls else ""))
    assert without_ids(message.get("tool_calls", [])) == calls
    assert whole["finish_reason"] == ("tool_calls" if calls else expected.completions[0].finish_reason)
    parts = [part for chunk in tools.stream(PATH, asked) for part in chunk["choices"]]
    assert "".join(part["delta"].get("content") or "" for part in parts) == expected.answer
    assert parts[-1]["finish_reason"] == whole["finish_reason"]
    streamed: dict[int, list[str]] = {}
    for part in parts:
        for call in part["delta"].get("tool_calls", []):
            if "id" in call:
                assert call["type"] == "function"
                streamed[call["index"]] = [call["function"]["name"], ""]
            streamed[call["index"]][1] += call["function"]["arguments"]
    assert [tuple(streamed[index]) for index in sorted(streamed)] == calls


def test_openai_s_client_reads_calls(sync: openai.OpenAI) -> None:
    asked: dict[str, Any] = {**ASKED, "model": "writer"}
    message = sync.chat.completions.create(**asked).choices[0].message
    assert message.tool_calls is not None
    assert [call.function.name for call in message.tool_calls] == ["weather", "other"]
    with sync.chat.completions.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_completion().choices[0].message
    kinds = {event.type for event in events}
    assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    assert final.tool_calls is not None
    assert [call.function.arguments for call in final.tool_calls] == [
        call.function.arguments for call in message.tool_calls
    ]


class Weather(pydantic.BaseModel):
    """Arguments that the client makes a schema of, and reads."""

    city: str
    days: int


def test_openai_s_client_parses_calls_into_its_types(sync: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Weather, name="weather")
    asked: dict[str, Any] = {"model": "writer", "messages": MESSAGES, "tools": [tool], "max_tokens": 2000, "seed": 3}
    for choice in ("auto", "required"):
        message = sync.chat.completions.parse(**asked, tool_choice=choice, parallel_tool_calls=False).choices[0].message
        assert message.tool_calls
        assert isinstance(message.tool_calls[0].function.parsed_arguments, Weather)


def test_results_of_tools_go_back_to_the_model(tools: Client, writer: nw.LanguageModel) -> None:
    call = tools.post(PATH, ASKED).json["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "5"} for one in call["tool_calls"]]
    messages = [*MESSAGES, call, *results]
    prompt = tools.post("/apply-template", {"messages": messages, "tools": TOOLS}).json["prompt"]
    assert prompt == writer.tokenizer.render_chat(messages, tools=TOOLS)
    assert prompt.endswith(f"{WRITTEN}<|end|>tool> 5<|end|>tool> 5<|end|>assistant> ")
    assert tools.post(PATH, {**ASKED, "messages": messages}).status == 200


def test_each_of_several_choices_has_its_calls(tools: Client) -> None:
    choices = tools.post(PATH, {**ASKED, "n": 2, "tool_choice": "required", "temperature": 1}).json["choices"]
    assert all(json.loads(one["message"]["tool_calls"][0]["function"]["arguments"]) for one in choices)


def test_calls_that_are_cut_off_end_by_their_length(tools: Client) -> None:
    (choice,) = tools.post(PATH, {**ASKED, "tool_choice": NAMED, "max_tokens": 60}).json["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", None)
    assert choice["message"]["tool_calls"][0]["function"]["arguments"].startswith('{"city": "')


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "any"}, "tool_choice"),
    ({"tool_choice": 3}, "tool_choice"),
    ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    ({"tools": "weather"}, "tools"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools"),
    ({"tools": [weather(name=3)]}, "tools"),  # type: ignore[arg-type]
    ({"tools": [weather(parameters="x")]}, "tools"),
    ({"tools": [weather(parameters={"type": "strin"})], "tool_choice": "required"}, "tools"),
    ({"tools": [weather(parameters={"not": {}})], "tool_choice": "required"}, "tools"),
    ({"tools": [weather(f"f{index}") for index in range(129)]}, "tools"),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ({"regex": "a", "tool_choice": "required"}, "regex"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED)
def test_a_bad_field_is_named(tools: Client, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        answer = tools.post(PATH, {**ASKED, **fields, "stream": stream})
        assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_tools_are_refused_where_the_template_has_none(client: Client, lm: nw.LanguageModel) -> None:
    answer = client.post(PATH, ASKED)
    assert (answer.status, answer.error["param"]) == (400, "tools")
    unknown = model_that_writes(lm, XML, "")
    with ServerThread(Service(unknown)) as server:
        answer = Client(server.url).post(PATH, ASKED)
        assert (answer.status, answer.error["param"]) == (400, "tools")
        assert "known" in answer.error["message"]
        assert Client(server.url).post(PATH, {**ASKED, "tool_choice": "none", "max_tokens": 2}).status == 200


def test_the_client_s_asynchronous_stream_has_the_calls(tools: Client) -> None:
    async def ask() -> list[str]:
        client = openai.AsyncOpenAI(base_url=f"{tools.url}/v1", api_key="none")
        async with client, client.chat.completions.stream(**{**ASKED, "model": "writer"}) as stream:
            final = await stream.get_final_completion()
        return [call.function.name for call in final.choices[0].message.tool_calls or ()]

    assert asyncio.run(ask()) == ["weather", "other"]


@pytest.mark.peer
def test_langchain_calls_tools(tools: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    langchain = pytest.importorskip("langchain_openai")
    model = langchain.ChatOpenAI(base_url=f"{tools.url}/v1", api_key="none", model="writer", seed=3)
    bound = model.bind_tools(TOOLS)
    whole, (first, *others) = bound.invoke("?"), list(bound.stream("?"))
    for chunk in others:
        first += chunk
    for message in (whole, first):
        found = [(call["name"], call["args"]) for call in message.tool_calls]
        assert found == [("weather", {"city": "Oslo", "days": 3}), ("other", {"city": "Oslo", "days": 3})]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "5"} for call in whole.tool_calls]
    assert bound.invoke([{"role": "user", "content": "?"}, whole, *results]).tool_calls
    answer = model.with_structured_output(Weather, method="function_calling").invoke("?")
    assert isinstance(answer, Weather)


@pytest.mark.peer
def test_llm_calls_tools(tools: Client, tmp_path: Path) -> None:
    """The library `llm`, in a process with a folder of its own."""
    pytest.importorskip("llm")
    model = {"model_id": "served", "model_name": "writer", "api_base": f"{tools.url}/v1", "api_key_name": "none"}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([{**model, "supports_tools": True}]))
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _LLM], capture_output=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    expected = [["weather", {"city": "Oslo", "days": 3}], ["other", {"city": "Oslo", "days": 3}]]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [expected, expected]


_LLM = """
import json, llm

def weather(city: str, days: int) -> str:
    "Weather."
    return "5"

def other(city: str, days: int) -> str:
    "Other."
    return "5"

model = llm.get_model("served")
for stream in (False, True):
    response = model.prompt("?", tools=[weather, other], stream=stream, key="none")
    print(json.dumps([[call.name, call.arguments] for call in response.tool_calls()]))
"""
