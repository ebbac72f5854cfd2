"""Calls of tools in answers: what a template writes for calls is read back as these calls, in pieces of any size."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any, Literal

import pytest

from nextword.decoding.call_grammar import call_constraint
from nextword.errors import RequestError
from nextword.inference.answering import find_tool_use
from nextword.text.tool_syntax import CallSyntax
from nextword.text.tool_use import ToolUse
from tests.tool_templates import QUOTED, TEMPLATES, XML, split, tokenizer_with, weather

TOOLS = [weather(), weather("weather_2")]
ARGUMENTS: list[dict[str, Any]] = [
    {"city": "Oslo", "days": 3},
    {"city": '}"{[\\ <tool_call>', "days": 1, "more": [{"a": "]"}, None, 1.5, True]},
]


def use_of(template: str) -> ToolUse:
    found = find_tool_use(tokenizer_with(template), {"tools": TOOLS})
    assert found is not None
    return found


@pytest.mark.parametrize("family", [*TEMPLATES, "quoted"])
@pytest.mark.parametrize("content", ["", "I look {it} up <now>:"])
def test_what_a_template_writes_for_calls_is_read_back(family: str, content: str) -> None:
    template = TEMPLATES.get(family, QUOTED)
    tokenizer, use = tokenizer_with(template), use_of(template)
    for names in (["weather"], ["weather_2", "weather"]):
        if family == "llama" and (content or len(names) > 1):
            continue  # it writes calls without a mark, alone
        functions = [{"name": name, "arguments": ARGUMENTS[index]} for index, name in enumerate(names)]
        calls = [{"id": "abcdefghi", "type": "function", "function": function} for function in functions]
        asked = [{"role": "user", "content": "?"}]
        message = {"role": "assistant", "content": content, "tool_calls": calls}
        prompt = tokenizer.render_chat(asked, tools=TOOLS)
        written = tokenizer.render_chat([*asked, message], tools=TOOLS, add_generation_prompt=False)
        written = written.removeprefix(prompt).removesuffix("<|end|>")
        for size in (1, 2, 5, 1000):
            said, found = split(use, written, size)
            assert said == content
            assert [(call.name, json.loads(call.arguments)) for call in found] == list(
                zip(names, ARGUMENTS, strict=False)
            )
            assert len({call.id for call in found}) == len(names)


CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "said", "arguments"),
    [
        ("nothing <tool", "nothing <tool", []),
        (CALL.replace("weather", "other"), CALL.replace("weather", "other"), []),
        ('<tool_call>\n{"name": "weather", "argu', '<tool_call>\n{"name": "weather", "argu', []),
        ('<tool_call>\n{"name": "weather", "arguments": {"city": "Os', "", ['{"city": "Os']),
        ('<tool_call>{"name":"weather","arguments":{ "city":"Oslo" }}</tool_call>', "", ['{ "city":"Oslo" }']),
        ('<tool_call>\n{"arguments": {"city": "é"}, "name": "weather"}\n</tool_call>', "", ['{"city": "é"}']),
        (CALL.replace('}}', '}, "id": "a}"}'), "", ['{"city": "Oslo"}']),
        (f"a <tool_call> b {CALL}", "a <tool_call> b", ['{"city": "Oslo"}']),
        (f"{CALL}\nDone.", "\nDone.", ['{"city": "Oslo"}']),
        (f"{CALL}\nDone. \n", "\nDone.", ['{"city": "Oslo"}']),
        (f"{CALL} {CALL}{CALL}", "", ['{"city": "Oslo"}'] * 3),
        (CALL.replace('{"city": "Oslo"}', '"x"'), CALL.replace('{"city": "Oslo"}', '"x"'), []),
    ],
)  # fmt: skip
def test_calls_of_models_that_keep_no_order(text: str, said: str, arguments: list[str]) -> None:
    for size in (1, 3, 1000):
        found = split(use_of(TEMPLATES["hermes"]), text, size)
        assert (found[0], [call.arguments for call in found[1]]) == (said, arguments)


def in_tags(*arguments: tuple[str, str], name: str = "weather") -> str:
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments)
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


@pytest.mark.parametrize(
    ("text", "said", "arguments"),
    [
        (in_tags(), "", ["{}"]),
        (in_tags(("city", "Oslo"), ("days", "3")), "", ['{"city": "Oslo", "days": 3}']),
        (in_tags(("city", "5"), ("days", "five")), "", ['{"city": "5", "days": "five"}']),
        (
            in_tags(("city", "\na\n"), ("x", "True"), ("y", "[1, null]")),
            "",
            [r'{"city": "\na\n", "x": true, "y": [1, null]}'],
        ),
        (in_tags(("city", "NaN"), ("x", "NaN")), "", ['{"city": "NaN", "x": "NaN"}']),
        (in_tags(("x", r'["\ud800"]')), "", [r'{"x": ["\ud800"]}']),
        (in_tags(("city", "a")).replace("\n", ""), "", ['{"city": "a"}']),
        (in_tags(("city", "a"), name="other"), in_tags(("city", "a"), name="other"), []),
        (in_tags(("city", "Oslo"), ("days", "3"))[:-50], "", ['{"city": "Oslo"']),
        (f"Look: {in_tags(('city', 'a'))}\nDone.", "Look:\nDone.", ['{"city": "a"}']),
        (in_tags(("city", "a")) + in_tags(("city", "b"), name="weather_2"), "", ['{"city": "a"}', '{"city": "b"}']),
    ],
)
def test_arguments_in_tags_have_the_types_of_the_schema(text: str, said: str, arguments: list[str]) -> None:
    for size in (1, 3, 1000):
        found = split(use_of(TEMPLATES["tags on lines"]), text, size)
        assert (found[0], [call.arguments for call in found[1]]) == (said, arguments)


@pytest.mark.parametrize(
    ("text", "said", "arguments"),
    [
        ("<call>call:weather{}<call/>", "", ["{}"]),
        ('<call>call:weather{days:3,city:<escape>a}"{<escape>}<call/>', "", [r'{"days": 3, "city": "a}\"{"}']),
        ("<call>call:weather{x:[True,<escape>True<escape>,{y:None}]}", "", ['{"x": [true, "True", {"y": null}]}']),
        ("<call>call:weather{city:<escape>Os", "<call>call:weather{city:<escape>Os", []),
        ("<call>call:weather{city:Oslo}<call/>", "<call>call:weather{city:Oslo}<call/>", []),
        ("<call>call:other{}<call/>", "<call>call:other{}<call/>", []),
    ],
)
def test_arguments_with_other_quotes_are_json_in_the_end(text: str, said: str, arguments: list[str]) -> None:
    for size in (1, 3, 1000):
        found = split(use_of(QUOTED), text, size)
        assert (found[0], [call.arguments for call in found[1]]) == (said, arguments)


def test_calls_with_other_quotes_cannot_be_held_to_a_form() -> None:
    for use in (
        find_tool_use(tokenizer_with(QUOTED), {"tools": TOOLS, "tool_choice": "required"}),
        find_tool_use(tokenizer_with(QUOTED), {"tools": [weather(strict=True)]}),
    ):
        assert use is not None
        with pytest.raises(RequestError, match="tools: this model's calls are no JSON"):
            call_constraint(use, None)
    assert call_constraint(use_of(QUOTED), None) is None


def test_a_text_in_tags_is_held_to_a_length_or_a_list_alone() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "pattern": "a+"}}}
    tools = [weather(parameters=schema)]
    use = find_tool_use(tokenizer_with(TEMPLATES["tags"]), {"tools": tools, "tool_choice": "required"})
    assert use is not None
    with pytest.raises(RequestError, match=r"tools\[0\].function.parameters: city has 'pattern'"):
        call_constraint(use, None)


@pytest.mark.parametrize("text", ['{"type": "function", "name": "weather", "parameters": {"city": "Oslo"}}'])
def test_an_object_may_begin_with_its_type(text: str) -> None:
    for size in (1, 1000):
        said, (call,) = split(use_of(TEMPLATES["llama"]), text, size)
        assert (said, call.arguments) == ("", '{"city": "Oslo"}')


@pytest.mark.parametrize(
    "text", ['{"a": 1}', 'x {"name": "weather", "parameters": {}}', '{"name": "other", "parameters": {}}', "{"]
)
def test_json_that_is_no_call_stays_text(text: str) -> None:
    for size in (1, 1000):
        assert split(use_of(TEMPLATES["llama"]), text, size) == (text, ())


def test_the_syntax_is_that_of_the_template() -> None:
    assert use_of(TEMPLATES["hermes"]).syntax == CallSyntax(
        begin='<tool_call>\n{"name": "',
        between='", "arguments": ',
        again='}\n</tool_call>\n<tool_call>\n{"name": "',
        end="}\n</tool_call>",
        separators=(", ", ": "),
        object_at=12,
    )
    llama = use_of(TEMPLATES["llama"]).syntax
    assert (llama.mark, llama.again, llama.keys) == ("", "", ("name", "parameters"))
    assert find_tool_use(tokenizer_with(XML), {"tools": TOOLS}) is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"city": {"type": [[]]}}, "required": 3},
        {"properties": {"city": {"enum": 5}}},
        {"properties": {"city": {"type": "string", "enum": 5}}, "required": "city"},
        {"properties": 3},
    ],
)
def test_a_schema_that_is_none_is_refused_or_says_nothing(parameters: dict[str, Any]) -> None:
    choices: tuple[Literal["auto", "required"], ...] = ("auto", "required")
    for template, choice in itertools.product(("tags", "tags on lines", "llama"), choices):
        use = find_tool_use(
            tokenizer_with(TEMPLATES[template]), {"tools": [weather(parameters=parameters)], "tool_choice": choice}
        )
        assert use is not None
        with contextlib.suppress(RequestError):
            call_constraint(use, None)
        split(use, in_tags(("city", "5")), 3)
