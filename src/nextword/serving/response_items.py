"""`messages_of`: the items of a request to `/v1/responses` as the messages of a chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.checks import shown
from nextword.serving.errors import ApiError

_PARTS = ("input_text", "output_text", "reasoning_text", "summary_text", "text")


def messages_of(given: Any) -> list[dict[str, Any]]:
    """Return the messages of `input`: a text, or a list of messages, calls, their results and reasoning.

    Calls belong to the assistant's message in front of them, reasoning to that behind it. Raises ApiError for others.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise ApiError(f"input = {shown(given)}: must be a text or a list of items", param="input")
    messages: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    reasoning: dict[str, str] = {}
    for item in given:
        kind = item.get("type", "message") if isinstance(item, Mapping) else None
        if kind == "reasoning":
            text = "".join(part["text"] for part in _parts(item.get("content")))
            reasoning = {"reasoning_content": text} if text else {}
            continue
        if kind == "function_call":
            names[_text(item, "call_id")] = _text(item, "name")
            _add_call(messages, item, reasoning)
        elif kind == "function_call_output":
            call_id = _text(item, "call_id")
            named = {"name": names[call_id]} if call_id in names else {}
            messages.append({"role": "tool", "tool_call_id": call_id, **named, "content": _content(item.get("output"))})
        elif kind == "message" and "role" in item:
            own = reasoning if item["role"] == "assistant" else {}
            messages.append({"role": item["role"], "content": _content(item.get("content")), **own})
        else:
            raise ApiError(
                f"input = {shown(item)}: must be a message with a role, or a call or its result", param="input"
            )
        reasoning = {}
    return messages


def _add_call(messages: list[dict[str, Any]], item: Mapping[str, Any], reasoning: Mapping[str, str]) -> None:
    if not messages or messages[-1]["role"] != "assistant" or reasoning:
        messages.append({"role": "assistant", "content": "", **reasoning})
    function = {"name": _text(item, "name"), "arguments": _text(item, "arguments")}
    call = {"id": _text(item, "call_id"), "type": "function", "function": function}
    messages[-1].setdefault("tool_calls", []).append(call)


def _text(item: Mapping[str, Any], name: str) -> str:
    if not isinstance(value := item.get(name), str):
        raise ApiError(f"input = {shown(item)}: {name} must be a string", param="input")
    return value


def _content(content: Any) -> Any:
    return _parts(content) if isinstance(content, list) else content


def _parts(parts: Any) -> list[dict[str, Any]]:
    if not isinstance(parts, list | None):
        raise ApiError(f"input = {shown(parts)}: must be a list of parts of text", param="input")
    found = []
    for part in parts or ():
        is_text = isinstance(part, Mapping) and part.get("type") in _PARTS and isinstance(part.get("text"), str)
        if not is_text:
            raise ApiError(f"input = {shown(part)}: only parts of text are served here", param="input")
        found.append({"type": "text", "text": part["text"]})
    return found
