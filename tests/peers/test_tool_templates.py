"""Calls of tools in the forms of the chat templates that llama.cpp ships: found, read back in pieces, or refused."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from nextword.decoding.call_grammar import call_constraint
from nextword.decoding.grammar import GrammarCompiler
from nextword.errors import NextwordError
from nextword.inference.answering import find_tool_use
from nextword.text.thought_marks import written_text
from nextword.text.tokenizer import Tokenizer
from nextword.text.tool_syntax import CALL_ID
from nextword.text.tool_use import ToolUse
from tests.peers.llama_cpp_sources import templates
from tests.text.vocabularies import as_tokenizer, byte_level_backend
from tests.tool_templates import split

pytestmark = pytest.mark.peer

NOT_SHOWN = "the chat template does not show tools: describe them in the system prompt instead"
WITHOUT_TOOLS = {
    "HuggingFaceTB-SmolLM3-3B",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "deepseek-ai-DeepSeek-V3.1",
    "google-gemma-2-2b-it",
    "llama-cpp-rwkv-world",
    "microsoft-Phi-3.5-mini-instruct",
}
"""Templates that do not show tools."""
UNKNOWN = {
    "Kimi-K2-Instruct": "it changes a list, which the sandbox refuses, as that of transformers does",
    "Kimi-K2-Thinking": "the same",
    "Kimi-K3": "arguments in its own encoding",
    "LFM2-8B-A1B": "calls in Python's form, not shown in a history",
    "LFM2.5-8B-A1B": "calls in Python's form",
    "LFM2.5-Instruct": "calls in Python's form, not shown in a history",
    "MiniMax-M3": "arguments in tags of their own names",
    "deepseek-ai-DeepSeek-V3.2": "tags that say whether a value is a text",
    "deepseek-ai-DeepSeek-V4": "the same",
    "deepseek-ai-DeepSeek-V4-Flash-0731": "the same",
    "fireworks-ai-llama-3-firefunction-v2": "needs variables of its own",
    "ibm-granite-granite-3.3-2B-Instruct": "calls are not shown in a history",
    "llama-cpp-deepseek-r1": "not rendered in transformers either",
    "meetkai-functionary-medium-v3.2": "a call begins with the name itself",
    "muse-glimmer": "a call begins in the header of the turn",
    "openai-gpt-oss-120b": "a call begins in the header of the turn",
}
"""Templates whose calls are not read, and why; tools are refused there."""
ONE_CALL = {"meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct", "meta-llama-Llama-3.3-70B-Instruct"}
ONE_CALL |= {"GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B"}
"""Templates that write one call in a turn."""
PYTHONIC = {"ByteDance-Seed-OSS", "openbmb-MiniCPM5-1B"}
"""Templates that write objects in Python's form, which stay texts."""
_CONTROL = re.compile(r"<[|｜][^<>\s'\"{}]+[|｜]>|\[/?[A-Z_]{3,}\]|</?[a-z_:]*tool_call[a-z_:]*>")


def tool(name: str) -> dict[str, Any]:
    kinds = {"city": "string", "days": "integer", "exact": "boolean", "more": "object"}
    properties: dict[str, Any] = {key: {"type": kind, "description": "?"} for key, kind in kinds.items()}
    properties["more"]["additionalProperties"] = {"type": "string"}  # which some templates read
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": "?", "parameters": parameters}}


TOOLS = [tool("get_weather"), tool("get_weather_2")]
GRAMMARS = GrammarCompiler([bytes([value]) for value in range(256)])
USER = {"role": "user", "content": "Rain?"}
ARGUMENTS: list[dict[str, Any]] = [
    {"city": "Oslo", "days": 2, "exact": True, "more": {"a": "b", "c": 'd "e"'}},
    {"city": 'a "b" {c} <d>\n\\ é 5', "days": -1},
]


def tokenizer_of(template: str) -> Tokenizer:
    """Return a tokenizer of bytes with the template, and the control tokens that it writes."""
    backend = byte_level_backend()
    backend.add_special_tokens(sorted(set(_CONTROL.findall(template))))
    found = as_tokenizer(backend, chat_template=template)
    found.special_variables = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
    return found


def test_each_template_has_a_syntax_or_a_reason() -> None:
    found = {path.stem: tokenizer_of(path.read_text(encoding="utf-8")) for path in sorted(templates().glob("*.jinja"))}
    assert len(found) > 60
    for name, tokenizer in found.items():
        if name in WITHOUT_TOOLS:
            with pytest.raises(NextwordError, match=NOT_SHOWN):
                tokenizer.render_chat([USER], tools=TOOLS)
            continue
        use = find_tool_use(tokenizer, {"tools": TOOLS})
        assert (use is None) == (name in UNKNOWN), name
        if use is None:
            with pytest.raises(NextwordError, match="form"):
                find_tool_use(tokenizer, {"tools": TOOLS, "tool_choice": "required"})
        else:
            several = [] if name in ONE_CALL else [["get_weather_2", "get_weather"]]
            given = [{**one, "more": {}} if name in PYTHONIC and "more" in one else one for one in ARGUMENTS]
            for names in (["get_weather"], ["get_weather_2"], *several):
                check_read_back(use, tokenizer, list(zip(names, given, strict=False)))


def check_read_back(use: ToolUse, tokenizer: Tokenizer, expected: list[tuple[str, dict[str, Any]]]) -> None:
    """Let the template write calls behind its prompt; they are read back, in pieces of any size."""
    functions = [{"name": name, "arguments": arguments} for name, arguments in expected]
    calls = [{"id": "abcdefghi", "type": "function", "function": function} for function in functions]
    prompt = tokenizer.render_chat([USER], tools=TOOLS)
    answer = {"role": "assistant", "content": "", "tool_calls": calls}
    rendered = tokenizer.render_chat([USER, answer], tools=TOOLS, add_generation_prompt=False)
    text = written_text(rendered, prompt)
    text = text[text.find(use.syntax.mark or "{") :]  # what is in front of it is the turn's, or a thought
    check_may_be_forced(use, text)
    for size in (1, 7, len(text)):
        said, found = split(use, text, size)
        assert [(call.name, json.loads(call.arguments)) for call in found] == expected, use.syntax
        assert "Oslo" not in said


def check_may_be_forced(use: ToolUse, text: str) -> None:
    """The form of calls that are asked for has the text that the template writes."""
    if use.syntax.quote != '"' or "\n    {\n" in text or "\\u00" in text:  # no form; or JSON that is written otherwise
        return
    form = call_constraint(dataclasses.replace(use, is_required=True), None)
    assert form is not None
    end = use.syntax.end.replace(CALL_ID, "abcdefghi") or "}"
    matcher, data = GRAMMARS.compile(form).matcher(), text[: text.rindex(end) + len(end)].encode()
    for place, token_id in enumerate(data):
        assert matcher.allows(token_id), (use.syntax, data[:place])
        matcher.accept(token_id)
