"""`find_call_syntax`: how a model writes calls of tools, found by rendering calls with its chat template.

What the template writes before, between and behind the name and the arguments of a call is what the model was trained
to write. The arguments are a JSON object, or each stands in tags of its own, or they are an object with other quotes;
templates that write them otherwise have no syntax here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextword.errors import TokenizerError
from nextword.text.chat_messages import PlainMessage, plain_messages
from nextword.text.chat_template import render_chat_template
from nextword.text.template_forms import fit_to_template
from nextword.text.thought_marks import common_begin, written_text
from nextword.text.thoughts import ThoughtMark
from nextword.text.tool_syntax import CALL_ID, CALL_NUMBER, CallSyntax, TaggedArguments

_NAMES = ("Zw4f", "Zw5g")
_FIRST, _SECOND = "Xq7", "Xq8"
_ARGUMENTS = {_FIRST: "Vy9", _SECOND: 1}
"""Names and arguments that no template changes or writes by itself."""
_ASKED: PlainMessage = {"role": "user", "content": "?"}
_SAID = "Xq6"
_NUMBER = re.compile(r"\b\d+\b")
_TAG = re.compile(r"<[^<>\s]+>|\[\w+\]")


@functools.lru_cache(maxsize=64)
def find_call_syntax(
    template: str,
    special_tokens: tuple[tuple[str, str], ...],
    variables: str,
    marks: tuple[ThoughtMark, ...],
    ends: tuple[str, ...],
) -> CallSyntax | None:
    """Return the syntax of calls; None if the template shows none, or arguments in a form that is not known.

    `special_tokens`: pairs of name and text. `variables`: the values of the template's other variables, as JSON.
    `marks`: of thoughts, which are no part of a call. `ends`: texts of the tokens that end an answer.
    """
    given = {**dict(special_tokens), **json.loads(variables), "tools": [_tool(name) for name in _NAMES]}

    def render(*answer: PlainMessage, prompts: bool = False) -> str:
        messages = fit_to_template(template, plain_messages([_ASKED, *answer]), dict(special_tokens))
        return render_chat_template(template, messages, add_generation_prompt=prompts, variables=given)

    def calls_of(*names: str) -> list[_Call]:
        written = written_text(render(_message(names)), prompt).removeprefix(opened)
        return _calls_in(_behind_thoughts(written.lstrip(), marks), names)

    try:
        asked, prompt = render(), render(prompts=True)
        opened = (_TAG.findall(prompt) or [""])[-1]  # the beginning of the answer, where history has it elsewhere
        tail = render({"role": "assistant", "content": _SAID}).partition(_SAID)[2].strip()
        calls = calls_of(_NAMES[0])
    except TokenizerError:  # a template that refuses these messages
        return None
    if not calls:
        return None
    first, again = _numbered(calls[0], _second(calls_of))
    if first.tags is not None:
        first = dataclasses.replace(first, tags=dataclasses.replace(first.tags, has_cdata="<![CDATA[" in template))
    syntax = _syntax(first, again, (tail, _turn_begin(prompt, asked), *ends))
    return syntax if _is_known(syntax) else None


def _syntax(first: _Call, again: _Call | None, ends: Sequence[str]) -> CallSyntax:
    return CallSyntax(
        begin=first.before,
        between=first.between,
        again=again.before if again is not None and again.between == first.between else "",
        end=_before_turn_end(first.behind, ends),
        separators=_separators(first.arguments),
        tags=first.tags,
        quote=first.quote,
        **_object(first),
    )


def _is_known(syntax: CallSyntax) -> bool:
    """Return True for calls that can be told from text: JSON, or behind a tag; the name stands there once."""
    is_told = syntax.object_at is not None or syntax.begin.startswith(("<", "["))
    return is_told and not any(name in text for name in _NAMES for text in syntax.texts)


@dataclass(frozen=True)
class _Arguments:
    """Arguments in a rendering: the texts of which they consist."""

    between: str
    arguments: str
    behind: str
    """Up to the end of the text, further calls included."""
    tags: TaggedArguments | None = None
    quote: str = '"'


@dataclass(frozen=True)
class _Call(_Arguments):
    """A call in a rendering."""

    before: str = ""
    name: str = ""


def _tool(name: str) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": "."} for key in _ARGUMENTS}
    parameters = {"type": "object", "properties": properties, "required": list(_ARGUMENTS)}
    return {"type": "function", "function": {"name": name, "description": ".", "parameters": parameters}}


def _message(names: Sequence[str]) -> PlainMessage:
    functions = [{"name": name, "arguments": _ARGUMENTS} for name in names]
    calls = [{"id": CALL_ID, "type": "function", "function": function} for function in functions]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _calls_in(text: str, names: Sequence[str]) -> list[_Call]:
    """Return the calls of these functions; none if one is missing, or has arguments in a form that is not known."""
    found: list[_Call] = []
    for name in names:
        before, is_named, rest = text.partition(name)
        read = _json_arguments(rest) or _tagged_arguments(rest) or _quoted_arguments(rest)
        if not is_named or read is None:
            return []
        text = read.behind
        found.append(_Call(read.between, read.arguments, read.behind, read.tags, read.quote, before, name))
    return found


def _json_arguments(rest: str) -> _Arguments | None:
    at = rest.rfind("{", 0, max(rest.find(f'"{_FIRST}"'), 0))
    value, length = _json_at(rest, at)
    end = at + length
    return _Arguments(rest[:at], rest[at:end], rest[end:]) if value == _ARGUMENTS else None


def _tagged_arguments(rest: str) -> _Arguments | None:
    parts = re.match(f"(.*?){_FIRST}(.*?)Vy9(.*?){_SECOND}(.*?)1", rest, re.DOTALL)
    if parts is None or parts[2] != parts[4]:
        return None
    suffix = common_begin(parts[1][::-1], parts[3][::-1])[::-1]
    if "<" not in suffix:
        return None
    key, behind = suffix[suffix.rfind("<") :], rest[parts.end() :]
    end = common_begin(parts[3].removesuffix(key), behind)
    tags = TaggedArguments(key, parts[2], end)
    is_known = tags.value.strip() and end.strip() == parts[3].removesuffix(key).strip()
    return _Arguments(parts[1].removesuffix(key), "", behind.removeprefix(end), tags) if is_known and end else None


def _quoted_arguments(rest: str) -> _Arguments | None:
    found = re.match(rf"([^{{]*)(\{{\s*{_FIRST}:\s*(\S+?)Vy9\3,\s*{_SECOND}:\s*1\s*\}})", rest)
    return found and _Arguments(found[1], found[2], rest[found.end() :], quote=found[3])


def _json_at(text: str, at: int) -> tuple[object, int]:
    """Return the JSON value at a place, and its length; None where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text[at:]) if at >= 0 else (None, 0)
    except ValueError:
        return None, 0


def _behind_thoughts(text: str, marks: Sequence[ThoughtMark]) -> str:
    """Leave out thoughts that the template writes in front of a call."""
    for mark in marks:
        before, found, behind = text.partition(mark.end) if mark.end else ("", "", "")
        if found and _NAMES[0] not in before:
            text = behind.lstrip()
    return text


def _second(calls_of: Callable[..., list[_Call]]) -> _Call | None:
    """Return the second of two calls; None if the template takes one alone."""
    try:
        return next(iter(calls_of(*_NAMES)[1:]), None)
    except TokenizerError:
        return None


def _numbered(first: _Call, second: _Call | None) -> tuple[_Call, _Call | None]:
    """Put `CALL_NUMBER` in the place of numbers that grow from the first call to the second."""
    if second is None:
        return first, None
    before, before_second = _as_numbers(first.before, second.before)
    between, between_second = _as_numbers(first.between, second.between)
    second = dataclasses.replace(second, before=before_second, between=between_second)
    return dataclasses.replace(first, before=before, between=between), second


def _as_numbers(*texts: str) -> tuple[str, ...]:
    is_counted = [_NUMBER.findall(text) for text in texts] == [["0"], ["1"]]
    return tuple(_NUMBER.sub(CALL_NUMBER, text) for text in texts) if is_counted else texts


def _turn_begin(prompt: str, asked: str) -> str:
    """Return the tag with which a turn begins: no part of an answer."""
    found = _TAG.match(prompt.removeprefix(asked).strip())
    return found[0] if found else ""


def _before_turn_end(behind: str, ends: Sequence[str]) -> str:
    """Return what the model writes behind a call, up to the end of its turn."""
    cuts = [behind.find(end) for end in ends if end.strip() and end in behind]
    return behind[: min(cuts, default=len(behind))].rstrip()


def _separators(arguments: str) -> tuple[str, str]:
    return ", " if f', "{_SECOND}"' in arguments else ",", ": " if f'"{_FIRST}": ' in arguments else ":"


def _object(call: _Call) -> Mapping[str, Any]:
    """Return where the JSON object that a call is begins, and its keys for the name and the arguments."""
    at = call.before.rfind("{")
    value, _ = _json_at(call.before + call.name + call.between + call.arguments + call.behind, at)
    pairs = value.items() if isinstance(value, dict) else ()
    keys = [key for wanted in (call.name, _ARGUMENTS) for key, one in pairs if one == wanted]
    return {"object_at": at, "keys": tuple(keys)} if len(keys) == len(CallSyntax.keys) else {"object_at": None}
