"""`require_shown`: nothing that a message of a training record says is left out by the chat template in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nextword.errors import TokenizerError
from nextword.text.chat_messages import PlainMessage

_LINKS = ("role", "type", "id", "tool_call_id", "index")
"""Keys that say how parts belong together; templates need not write them."""
_SAME_REASONING = ("thinking", "reasoning")
"""Further names of reasoning_content."""
_TAG = re.compile(r"</?\w{1,20}>")
"""Tags such as <think>, in whose place a template may write its own."""
_LONG = 8
"""Letters of a text that hardly stand in a rendering by chance."""


def require_shown(
    message: PlainMessage, before: Sequence[PlainMessage], name: str, rendered: str, count_marks: Callable[[], int]
) -> None:
    """Check that a rendering shows each text and number of a message.

    `before`: the messages before it. `count_marks` renders the same with marks in the message (see `with_marks`), and
    counts those that come out. Raises TokenizerError naming the part that is not shown.
    """
    parts = {where: value for where, value in _parts(message) if not _is_known(message, where, value, before)}
    squeezed = _squeezed(rendered)
    unseen = [where for where, value in parts.items() if not _is_written(value, squeezed)]
    texts = [where for where, value in parts.items() if isinstance(value, str)]
    if not unseen and any(len(str(parts[where])) < _LONG for where in texts):  # it may stand there by chance
        unseen = [] if count_marks() else texts
    if unseen:
        raise TokenizerError(
            f"the chat template does not show {name}{unseen[0]}: leave it out, or choose a template that shows it"
        )


def with_marks(message: PlainMessage, mark: str) -> PlainMessage:
    """Return the message with a mark behind the last letter of each of its texts."""
    marked: PlainMessage = _marked(message, mark)
    return marked if marked != message else {**message, "content": mark + (message.get("content") or "")}


def _marked(value: Any, mark: str) -> Any:
    if isinstance(value, str):
        letters = value.rstrip()
        return letters + mark + value[len(letters) :] if letters else value
    if isinstance(value, Mapping):
        return {key: one if key in _LINKS else _marked(one, mark) for key, one in value.items()}
    return [_marked(one, mark) for one in value] if isinstance(value, list) else value


def _parts(value: Any, where: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    """Yield the texts and numbers in a message, each with its place."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key not in _LINKS:
                yield from _parts(one, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _parts(one, f"{where}[{index}]")
    elif value is not None and str(value).strip():
        yield where, value


def _is_known(message: PlainMessage, where: str, value: object, before: Sequence[PlainMessage]) -> bool:
    """Return True for what is shown elsewhere: reasoning by another name, and the name of the function of a result."""
    if where in [f"[{name!r}]" for name in _SAME_REASONING]:
        return value == message.get("reasoning_content")
    calls = [call for one in before for call in one.get("tool_calls") or ()]
    is_result = message["role"] == "tool" and where == "['name']"
    return is_result and any(isinstance(call, Mapping) and _function_name(call) == value for call in calls)


def _function_name(call: Mapping[str, Any]) -> object:
    function = call.get("function", call)
    return function.get("name") if isinstance(function, Mapping) else None


def _is_written(value: str | float, squeezed: str) -> bool:
    """Return True if a rendering, without its spaces, holds a value as text, in JSON or as Python writes it."""
    if not isinstance(value, str):
        return str(value) in squeezed or json.dumps(value) in squeezed
    written = (value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return any(all(_squeezed(piece) in squeezed for piece in _TAG.split(one)) for one in written)


def _squeezed(text: str) -> str:
    return "".join(text.split())
