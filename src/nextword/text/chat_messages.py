"""`plain_messages`: the messages of a conversation, checked, as plain data that a chat template may see.

A message is a mapping in OpenAI's form: "role", "content" as a text or a list of text parts, and whatever else the
template shows, such as "tool_calls" or "reasoning_content". Nothing of a message is left out here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from nextword.errors import RequestError

Message = Mapping[str, Any]
"""Message of a conversation in OpenAI's form."""
PlainMessage = dict[str, Any]
"""Message of lists, dictionaries, strings and numbers alone."""

_WITHOUT_CONTENT = ("tool_calls", "reasoning_content", "thinking", "reasoning")
"""Keys of an assistant's message that stand in the place of content."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names of a message's reasoning; templates read the first, those of gpt-oss the second."""
_DEPTH = 100
"""Bound of the nesting of values: far beyond any JSON schema, short of Python's own."""
_LONGEST_SHOWN = 80


def plain_messages(messages: Sequence[Message]) -> list[PlainMessage]:
    """Return copies of the messages as plain data, without keys whose value is None.

    As in transformers, reasoning is found under each of its names. Raises RequestError naming the message and the key
    that is missing or has another value than a template can show.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise _refusal("messages", messages, 'a list of messages such as [{"role": "user", "content": "Hello"}]')
    if not messages:
        raise RequestError("messages = []: must hold at least one message")
    return [_plain_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def plain_value(value: object, name: str, depth: int = 0) -> Any:
    """Return a copy of plain data: text, numbers, None, and lists and mappings of these.

    Raises RequestError, naming the part by `name`, for anything else, also for text that is not valid Unicode.
    """
    if depth > _DEPTH:
        raise RequestError(f"{name}: nested more than {_DEPTH} deep, or in itself")
    if isinstance(value, str):
        return _text(value, name)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise _refusal(name, value, "a mapping whose keys are strings")
        return {_text(key, name): plain_value(one, f"{name}[{key!r}]", depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(one, f"{name}[{index}]", depth + 1) for index, one in enumerate(value)]
    raise _refusal(name, value, "text, a number, None, or a list or mapping of these")


def _plain_message(message: object, name: str) -> PlainMessage:
    if not isinstance(message, Mapping):
        raise _refusal(name, message, 'a mapping such as {"role": "user", "content": "Hello"}')
    role = message.get("role")
    if not isinstance(role, str):
        raise _refusal(f"{name}['role']", role, "a string") if "role" in message else _missing(name, message, "role")
    _check_content(message, name)
    plain = {key: one for key, one in plain_value(message, name).items() if one is not None}
    content = plain.get("content")
    if isinstance(content, list):
        plain["content"] = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    reasoning = next((plain[key] for key in _REASONING if key in plain), None)
    return plain if reasoning is None else {"thinking": reasoning, **plain, "reasoning_content": reasoning}


def _check_content(message: Mapping[str, object], name: str) -> None:
    """Raise RequestError unless the content is a text, a list of text parts, or not needed."""
    content, allowed = message.get("content"), "a string, or a list of parts {'type': 'text', 'text': ...}"
    if content is None:
        if any(message.get(key) is not None for key in _WITHOUT_CONTENT):
            return
        raise (
            _refusal(f"{name}['content']", content, allowed)
            if "content" in message
            else _missing(name, message, "content")
        )
    is_result = message["role"] == "tool" and isinstance(content, Mapping)  # of a call, as some templates take it
    if isinstance(content, str) or is_result:
        return
    if not isinstance(content, list | tuple):
        raise _refusal(f"{name}['content']", content, allowed)
    for index, part in enumerate(content):
        is_text = isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
        if not is_text and not isinstance(part, str):
            raise _refusal(f"{name}['content'][{index}]", part, "a part {'type': 'text', 'text': ...}")


def _text(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{name}: character {error.start} is not valid Unicode (the input was not UTF-8)") from None
    return str(text)


def _missing(name: str, message: Mapping[str, object], key: str) -> RequestError:
    return RequestError(f"{name} = {_shown(dict(message))}: has no {key!r}")


def _refusal(name: str, value: object, allowed: str) -> RequestError:
    return RequestError(f"{name} = {_shown(value)}: must be {allowed}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
