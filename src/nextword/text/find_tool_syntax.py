"""`find_call_syntax`: how a model writes calls of tools, found by rendering calls with its chat template.

What the template writes before, between and behind the name and the arguments of a call is what the model was trained
to write. Templates that do not write the arguments as JSON have no syntax here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextword.errors import TokenizerError
from nextword.text.chat_messages import PlainMessage, plain_messages
from nextword.text.chat_template import render_chat_template
from nextword.text.template_forms import fit_to_template
from nextword.text.thought_marks import written_text
from nextword.text.thoughts import ThoughtMark
from nextword.text.tool_syntax import CALL_ID, CallSyntax

_NAMES = ("Zw4f", "Zw5g")
_FIRST, _SECOND = "Xq7", "Xq8"
_ARGUMENTS = {_FIRST: "Vy9", _SECOND: 1}
"""Names and arguments that no template changes or writes by itself."""
_ASKED: PlainMessage = {"role": "user", "content": "?"}
_SAID = "Xq6"


@functools.lru_cache(maxsize=64)
def find_call_syntax(
    template: str,
    special_tokens: tuple[tuple[str, str], ...],
    variables: str,
    marks: tuple[ThoughtMark, ...],
    ends: tuple[str, ...],
) -> CallSyntax | None:
    """Return the syntax of calls; None if the template shows none, or arguments that are not JSON.

    `special_tokens`: pairs of name and text. `variables`: the values of the template's other variables, as JSON.
    `marks`: of thoughts, which are no part of a call. `ends`: texts of the tokens that end an answer.
    """
    given = {**dict(special_tokens), **json.loads(variables), "tools": [_tool(name) for name in _NAMES]}

    def render(*answer: PlainMessage, prompts: bool = False) -> str:
        messages = fit_to_template(template, plain_messages([_ASKED, *answer]), dict(special_tokens))
        return render_chat_template(template, messages, add_generation_prompt=prompts, variables=given)

    def calls_of(*names: str) -> list[_Call]:
        return _calls_in(_behind_thoughts(written_text(render(_message(names)), prompt), marks), names)

    try:
        prompt, said = render(prompts=True), render({"role": "assistant", "content": _SAID})
        calls = calls_of(_NAMES[0])
    except TokenizerError:  # a template that refuses these messages
        return None
    if not calls:
        return None
    (first,) = calls
    syntax = CallSyntax(
        begin=first.before,
        between=first.between,
        again=_again(first, calls_of),
        end=_before_turn_end(first.behind, said.partition(_SAID)[2], ends),
        separators=_separators(first.arguments),
        **_object(first),
    )
    return syntax if syntax.mark or syntax.object_at is not None else None


@dataclass(frozen=True)
class _Call:
    """A call in a rendering: the texts of which it consists."""

    before: str
    name: str
    between: str
    arguments: str
    behind: str
    """Up to the end of the text, further calls included."""


def _tool(name: str) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": "."} for key in _ARGUMENTS}
    parameters = {"type": "object", "properties": properties, "required": list(_ARGUMENTS)}
    return {"type": "function", "function": {"name": name, "description": ".", "parameters": parameters}}


def _message(names: Sequence[str]) -> PlainMessage:
    functions = [{"name": name, "arguments": _ARGUMENTS} for name in names]
    calls = [{"id": CALL_ID, "type": "function", "function": function} for function in functions]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _calls_in(text: str, names: Sequence[str]) -> list[_Call]:
    """Return the calls of these functions; none if one is missing, or has arguments that are not JSON."""
    found: list[_Call] = []
    for name in names:
        before, is_named, rest = text.partition(name)
        at = rest.rfind("{", 0, max(rest.find(f'"{_FIRST}"'), 0))
        value, length = _json_at(rest, at)
        if not is_named or value != _ARGUMENTS:
            return []
        text = rest[at + length :]
        found.append(_Call(before, name, rest[:at], rest[at : at + length], text))
    return found


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


def _again(first: _Call, calls_of: Callable[..., list[_Call]]) -> str:
    """Return the text between two calls; empty if the template takes one alone, or numbers them."""
    try:
        calls = calls_of(*_NAMES)
    except TokenizerError:
        return ""
    return calls[1].before if calls and calls[1].between == first.between else ""


def _before_turn_end(behind: str, tail: str, ends: Sequence[str]) -> str:
    """Return what the model writes behind a call, up to the end of its turn."""
    cuts = [behind.find(end) for end in (tail, *ends) if end.strip() and end in behind]
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
