"""`fit_to_template`: give messages the forms that a chat template reads, where there are two for the same thing.

Content is a text or a list of parts, the arguments of a tool call are an object or its JSON. Which form a template
reads is found by rendering short messages with it. The role "developer" is OpenAI's newer name of "system"; a template
that has not the word knows the older one alone. A message in a form that it reads goes to it as it is, as in
transformers.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nextword.errors import TokenizerError
from nextword.text.chat_messages import PlainMessage
from nextword.text.chat_template import render_chat_template

_WORD = "Xq7"
"""Text of the probes: in no template, without anything that a template could trim or escape."""
_USER: PlainMessage = {"role": "user", "content": "?"}


def fit_to_template(
    template: str, messages: Sequence[PlainMessage], variables: Mapping[str, str]
) -> list[PlainMessage]:
    """Return the messages in the forms that the template reads; `variables` are the special tokens by name."""
    probe = functools.partial(_shows, template, tuple(variables.items()))
    roles = {} if "developer" in template else {"developer": "system"}
    return [_fitted({**message, "role": roles.get(message["role"], message["role"])}, probe) for message in messages]


_Probe = Callable[[str], bool]


def _fitted(message: PlainMessage, reads: _Probe) -> PlainMessage:
    content = message.get("content")
    if isinstance(content, list) and not reads("parts"):
        message = {**message, "content": "\n".join(part["text"] for part in content)}  # as vLLM and llama.cpp join them
    elif isinstance(content, str) and not reads("text") and reads("parts"):
        message = {**message, "content": [{"type": "text", "text": content}]}
    if isinstance(message.get("tool_calls"), list):
        message = {**message, "tool_calls": [_fitted_call(call, reads) for call in message["tool_calls"]]}
    return message


def _fitted_call(call: Any, reads: _Probe) -> Any:
    """Return a tool call whose arguments are an object or its JSON, as the template reads them."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    arguments: object = function.get("arguments")
    if isinstance(arguments, dict) and not reads("object") and reads("json"):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif isinstance(arguments, str) and not reads("json") and reads("object"):
        arguments = _object_in(arguments)
    else:
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _object_in(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


_PROBES: Mapping[str, tuple[PlainMessage, str]] = {
    "text": ({"role": "user", "content": _WORD}, _WORD),
    "parts": ({"role": "user", "content": [{"type": "text", "text": _WORD}]}, _WORD),
    "object": ({"arguments": {_WORD: 1}}, _WORD),
    "json": ({"arguments": json.dumps({_WORD: 1})}, json.dumps({_WORD: 1})),
}
"""Message, or function of a tool call, and the text that must be seen of it, by form."""


@functools.lru_cache(maxsize=256)
def _shows(template: str, variables: tuple[tuple[str, str], ...], form: str) -> bool:
    """Return True if the template writes what a message in this form says, and not the form itself."""
    probe, seen = _PROBES[form]
    if "arguments" in probe:
        call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", **probe}}
        messages = [_USER, {"role": "assistant", "content": "", "tool_calls": [call]}]
        messages += [{"role": "tool", "content": "0", "tool_call_id": "abcdefghi", "name": "f"}]
        messages += [{"role": "assistant", "content": "0"}]
    else:
        messages = [probe]
    try:
        rendered = render_chat_template(template, messages, add_generation_prompt=False, variables=dict(variables))
    except TokenizerError:
        return False
    return seen in rendered and not any(mark in rendered for mark in ("{'type'", '{"type": "text"'))
