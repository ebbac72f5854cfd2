"""Calls of tools that are asked for: any model writes them, with the tools' names and schemas, in its own syntax."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import nextword as nw
from nextword.inference.engine import Engine
from tests.api_model import load_bytes_model
from tests.fakes import HashBackend
from tests.tool_templates import TEMPLATES, XML, model_that_writes, tokenizer_with, weather

SUM = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
TOOLS = [weather(), weather("sum", parameters=SUM)]
ASKED = [{"role": "user", "content": "?"}]
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>'


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    return load_bytes_model(tmp_path_factory.mktemp("tools") / "tiny")


def random_model(lm: nw.LanguageModel, template: str) -> nw.LanguageModel:
    tokenizer = tokenizer_with(template)
    backend = HashBackend(vocab_size=tokenizer.vocab_size, max_seq_len=4096)
    return nw.LanguageModel(lm.directory, Engine(backend, tokenizer), name="random")


def check(generation: nw.Generation, names: set[str]) -> None:
    assert generation.tool_calls
    assert generation.answer == ""
    for call in generation.tool_calls:
        assert call.name in names
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


@pytest.mark.parametrize("family", TEMPLATES)
def test_required_calls_have_the_form_that_the_template_gives_them(lm: nw.LanguageModel, family: str) -> None:
    model = random_model(lm, TEMPLATES[family])
    for seed in range(4):
        generation = model.chat(ASKED, tools=TOOLS, tool_choice="required", seed=seed, max_tokens=3000)
        check(generation, set(SCHEMAS))
        calls = [call.as_message_part() for call in generation.tool_calls]
        if "[CALL_ID]" not in generation.text and '"id"' not in generation.text and "\\" not in generation.text:
            answer = {"role": "assistant", "content": "", "tool_calls": calls}
            rendered = model.tokenizer.render_chat([*ASKED, answer], tools=TOOLS, add_generation_prompt=False)
            assert rendered.partition("assistant> ")[2].strip() == generation.text + "<|end|>"
        assert generation.completions[0].finish_reason == "stop"


def test_a_named_tool_is_the_one_that_is_called(lm: nw.LanguageModel) -> None:
    model = random_model(lm, TEMPLATES["hermes"])
    for choice in (
        {"type": "function", "function": {"name": "sum"}},
        {"type": "function", "name": "sum"},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "sum"}}]},
        },
    ):
        check(model.chat(ASKED, tools=TOOLS, tool_choice=choice, seed=1, max_tokens=400), {"sum"})


def test_one_call_where_calls_are_not_parallel(lm: nw.LanguageModel) -> None:
    model = random_model(lm, TEMPLATES["hermes"])
    how: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 2000}
    several = [len(model.chat(ASKED, **how, seed=seed).tool_calls) for seed in range(3)]
    assert max(several) > 1
    assert {len(model.chat(ASKED, **how, parallel_tool_calls=False, seed=seed).tool_calls) for seed in range(3)} == {1}


@pytest.mark.parametrize("strict", [False, True])
def test_a_model_that_may_call_decides_itself(lm: nw.LanguageModel, strict: bool) -> None:
    tools = [weather(strict=strict)]
    for text, said, count in (("Hello", "Hello", 0), (CALL, "", 1), (f"Look:\n{CALL}\n{CALL}", "Look:", 2)):
        completion = model_that_writes(lm, TEMPLATES["hermes"], text).chat(ASKED, tools=tools, seed=1).completions[0]
        assert (completion.answer, len(completion.tool_calls), completion.text) == (said, count, text)


def test_strict_tools_get_no_other_arguments_even_where_the_model_decides(lm: nw.LanguageModel) -> None:
    wrong = CALL.replace('"days": 3', '"days": "many"')
    for strict in (False, True):
        model = model_that_writes(lm, TEMPLATES["hermes"], wrong)
        call = model.chat(ASKED, tools=[weather(strict=strict)], seed=1, max_tokens=300).tool_calls[0]
        assert isinstance(json.loads(call.arguments)["days"], int) == strict


def test_an_answer_has_its_schema_or_calls(lm: nw.LanguageModel) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "boolean"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    for text, count in (("", 0), (CALL, 1)):
        model = model_that_writes(lm, TEMPLATES["hermes"], text or '{"x": 1')
        completion = model.chat(ASKED, tools=TOOLS, schema=schema, seed=1, max_tokens=300).completions[0]
        assert len(completion.tool_calls) == count
        if not count:
            jsonschema.validate(json.loads(completion.answer), schema)


def test_tools_are_not_shown_where_none_may_be_called(lm: nw.LanguageModel) -> None:
    model = model_that_writes(lm, TEMPLATES["hermes"], CALL)
    generation = model.chat(ASKED, tools=TOOLS, tool_choice="none", seed=1, max_tokens=20)
    assert not generation.tool_calls
    assert generation.prompt_token_ids == tuple(model.tokenizer.encode_chat(ASKED))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": TOOLS, "tool_choice": "any"}, "must be"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}}, "'f' is none of the tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "must be"),
        ({"tools": [{"type": "function", "function": {}}]}, "must be the name"),
        ({"tools": [weather(), weather()]}, "another tool"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "must be such as"),
        ({"tools": [weather(parameters={"type": "obj"})], "tool_choice": "required"}, "Invalid type: obj"),
        ({"tools": TOOLS, "tool_choice": "required", "regex": "a"}, "regex with tools"),
    ],
)
def test_what_cannot_be_chosen_is_refused(lm: nw.LanguageModel, options: dict[str, Any], message: str) -> None:
    with pytest.raises(nw.NextwordError, match=message):
        random_model(lm, TEMPLATES["hermes"]).chat(ASKED, max_tokens=2, **options)


def test_calls_of_an_unknown_syntax_stay_text_and_cannot_be_forced(lm: nw.LanguageModel) -> None:
    model = model_that_writes(lm, XML, "<f=weather><city>Oslo")
    assert model.chat(ASKED, tools=TOOLS, seed=1).text == "<f=weather><city>Oslo"
    with pytest.raises(nw.RequestError, match="known form"):
        model.chat(ASKED, tools=TOOLS, tool_choice="required")
