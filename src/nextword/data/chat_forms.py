"""`FORMS`: the forms in which people store conversations, each read as a list of messages in OpenAI's form.

A form is known by the fields that a record has. What a form cannot say is an error, nothing is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Fields = Mapping[str, Any]
"""Fields of a record that are not null."""
_Messages = list[dict[str, Any]]

BESIDE = ("system", "tools", "functions", "chat_template_kwargs")
"""Fields that may stand beside the messages in any form."""
_SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "observation": "tool",
    "function_response": "tool",
}
"""Role by its name in ShareGPT; other names are roles already."""
_CALL = "function_call"
"""Speaker of ShareGPT whose value is the JSON of calls."""
_ROLES = ("system", "developer", "user", "assistant", "tool")


class FormError(Exception):
    """A record has none of the known forms."""


class Form(NamedTuple):
    """Fields of a form."""

    needed: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    """Fields that are read if they are there."""


def with_system(messages: _Messages, fields: Fields) -> _Messages:
    """Put the text of the field `system` before the messages."""
    if not fields.get("system"):
        return messages
    if any(message.get("role") == "system" for message in messages):
        raise FormError("the field 'system' and a message are both the system's: keep one")
    return [{"role": "system", "content": text_of(fields["system"], "system")}, *messages]


def read_tools(fields: Fields) -> list[Mapping[str, Any]] | None:
    """Return the tools of a record: a list of JSON schemas, or its JSON, as Parquet files often have it."""
    tools = _from_json(fields.get("tools"), "tools")
    functions = _from_json(fields.get("functions"), "functions")  # OpenAI's name of old
    if tools and functions:
        raise FormError("the fields 'tools' and 'functions' are both there: keep one")
    found = tools or [{"type": "function", "function": function} for function in functions or ()]
    if not isinstance(found, list) or not all(isinstance(tool, Mapping) for tool in found):
        raise FormError("field 'tools' is no list of JSON schemas of functions")
    return found or None


def read_variables(fields: Fields) -> Mapping[str, Any] | None:
    """Return the variables of the chat template that a record sets."""
    variables = _from_json(fields.get("chat_template_kwargs"), "chat_template_kwargs")
    if variables is not None and not isinstance(variables, Mapping):
        raise FormError("field 'chat_template_kwargs' is no object")
    return variables or None


def text_of(value: object, name: str) -> str:
    """Return a value that must be text."""
    if not isinstance(value, str):
        raise FormError(f"field {name!r}: expected text, found {type(value).__name__}")
    return value


def without_none(value: Any) -> Any:
    """Leave out keys whose value is None, at any depth: Parquet gives each message the keys of all."""
    if isinstance(value, Mapping):
        return {key: without_none(one) for key, one in value.items() if one is not None}
    return [without_none(one) for one in value] if isinstance(value, list) else value


def _from_messages(fields: Fields) -> _Messages:
    return _turns(fields["messages"], "messages")


def _from_sharegpt(fields: Fields) -> _Messages:
    turns = fields["conversations"]
    if isinstance(turns, list) and all(isinstance(turn, Mapping) and "role" in turn for turn in turns):
        return _turns(turns, "conversations")
    return [
        _sharegpt_message(turn, f"conversations[{number}]") for number, turn in enumerate(_list(turns, "conversations"))
    ]


def _sharegpt_message(turn: object, name: str) -> dict[str, Any]:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("from"), str) or "value" not in turn:
        raise FormError(f"{name}: a message without 'from' and 'value': {str(turn)[:80]}")
    others = {key: value for key, value in turn.items() if key not in ("from", "value")}
    speaker = turn["from"].lower()
    if speaker == _CALL:
        return {**others, "role": "assistant", "tool_calls": _calls(turn["value"], name)}
    role = _SPEAKERS.get(speaker, speaker if speaker in _ROLES else turn["from"])
    return {**others, "role": role, "content": turn["value"]}


def _calls(value: object, name: str) -> list[dict[str, Any]]:
    """Read {"name", "arguments"}, or a list of these, as tool calls."""
    calls = _from_json(value, name)
    listed = calls if isinstance(calls, list) else [calls]
    if not listed or not all(isinstance(call, Mapping) and {"name", "arguments"} == {*call} for call in listed):
        raise FormError(f"{name}: a {_CALL} has the JSON of an object with name and arguments, or of a list of them")
    return [{"type": "function", "function": dict(call)} for call in listed]


def _from_instruction(fields: Fields) -> _Messages:
    parts = [text_of(fields[name], name) for name in ("instruction", "input") if fields.get(name)]
    asked = {"role": "user", "content": "\n\n".join(parts)}
    return [*_history(fields), asked, {"role": "assistant", "content": text_of(fields["output"], "output")}]


def _history(fields: Fields) -> _Messages:
    """Read the turns before an instruction: a list of question and answer."""
    messages: _Messages = []
    for number, turn in enumerate(_list(fields.get("history", []), "history")):
        if not isinstance(turn, list) or len(turn) != 2:
            raise FormError(f"history[{number}]: expected a list of a question and its answer")
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    return messages


def _from_prompt(fields: Fields) -> _Messages:
    prompt, completion = fields["prompt"], fields["completion"]
    before = _turns(prompt, "prompt") if isinstance(prompt, list) else [_said("user", prompt, "prompt")]
    if isinstance(completion, list):
        return [*before, *_turns(completion, "completion")]
    return [*before, _said("assistant", completion, "completion")]


FORMS: Mapping[Form, Callable[[Fields], _Messages]] = {
    Form(("messages",)): _from_messages,
    Form(("conversations",)): _from_sharegpt,
    Form(("instruction", "output"), ("input", "history")): _from_instruction,
    Form(("prompt", "completion")): _from_prompt,
}
"""Reader by form; the first whose needed fields are there is used."""


def _turns(turns: object, name: str) -> _Messages:
    messages = []
    for number, turn in enumerate(_list(turns, name)):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            raise FormError(f"{name}[{number}]: a message without 'role' and 'content': {str(turn)[:80]}")
        role = turn["role"]
        messages.append({**turn, "role": role.lower() if role.lower() in _ROLES else role})
    return messages


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormError(f"field {name!r}: expected a list of messages, found {type(value).__name__}")
    return value


def _said(role: str, value: object, name: str) -> dict[str, Any]:
    return {"role": role, "content": text_of(value, name)}


def _from_json(value: object, name: str) -> Any:
    """Return what JSON in a text says; any other value as it is."""
    if not isinstance(value, str) or not value.strip():
        return value or None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise FormError(f"{name} is a text, but no JSON: {' '.join(str(error).split())}") from None
