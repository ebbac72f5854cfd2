"""`CallSplitter`: tell the calls of tools in an answer from what is said, as the text grows.

A call is what has the syntax of the model's chat template, white space aside, and the name of one of the tools.
Anything else stays text.
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextword.text.call_arguments import ArgumentsReader, ObjectReader, TaggedReader, quoted_object
from nextword.text.json_text import json_text
from nextword.text.tool_syntax import CALL_ID, NO, OPEN, CallSyntax, follow

_OTHER_KEYS = ("type", "id")
"""Keys that models write in front of the name, besides the arguments."""
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class ToolCall:
    """Call of a function that a model asks for."""

    id: str
    """Name of this call, for the message with its result: nine letters and digits, drawn at random."""
    name: str
    """Name of the function."""
    arguments: str
    """JSON object of the arguments, as the model wrote it: of an answer that was cut off, the part that it has."""

    def as_message_part(self) -> dict[str, object]:
        """Return the call as an entry of a message's "tool_calls", in OpenAI's form."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True)
class CallDelta:
    """Text that was added to a call."""

    index: int
    """Number of the call in its answer, from 0 on."""
    arguments: str
    begins: ToolCall | None = None
    """The call, still without arguments, where this is its beginning."""


class CallSplitter:
    """Splits an answer as it grows."""

    def __init__(self, syntax: CallSyntax, functions: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin an answer that may call functions; their parameters by their names."""
        self._syntax, self._functions = syntax, functions
        self._again, self._end = syntax.again, syntax.end
        if syntax.object_at is not None:  # the rest of the object is read as JSON
            self._again, self._end = (text.partition("}")[2] for text in (syntax.again, syntax.end))
        self._held = ""
        self._arguments: ArgumentsReader | None = None
        self._is_behind_call = self._is_said = False
        self._deltas: list[CallDelta] = []
        self._num_calls = 0

    def push(self, piece: str, *, is_last: bool = False) -> tuple[str, list[CallDelta]]:
        """Append text; return what is certain of the text beside the calls, and of the calls."""
        self._held += piece
        self._deltas = []
        said = ""
        is_going_on = True
        while is_going_on:
            if self._arguments is not None:
                is_going_on = self._read_arguments(self._arguments)
            elif self._is_behind_call:
                is_going_on = self._go_on_behind_call(is_last=is_last)
            else:
                text, is_going_on = self._say(is_last=is_last)
                said += text
        return said, self._deltas

    def _say(self, *, is_last: bool) -> tuple[str, bool]:
        """Take off the text that is no call; return it, and True if a call begins behind it."""
        held, start = self._held, 0
        while (at := self._find_mark(start)) >= 0:
            found = self._begin(at)
            if found:
                self._is_said = True
                return held[:at].rstrip(), True
            if found is None and not is_last:
                return self._take(len(held[:at].rstrip())), False
            start = at + 1
        if is_last:
            return self._take(len(held.rstrip() if self._num_calls else held)), False
        kept = len(held) - _begun(self._syntax.mark, held)
        return self._take(len(held[:kept].rstrip())), False

    def _find_mark(self, start: int) -> int:
        """Return where a call may begin; without a mark only the answer's first character."""
        if self._syntax.mark:
            return self._held.find(self._syntax.mark, start)
        at = len(self._held) - len(self._held.lstrip())
        return at if not self._is_said and start <= at < len(self._held) else -1

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        self._is_said = self._is_said or bool(taken.strip())
        return taken

    def _begin(self, at: int, before: str | None = None) -> bool | None:
        """Begin a call if there is one at a place of the text; None while that is open."""
        before = self._syntax.begin if before is None else before
        places = {name: self._arguments_at(at, f"{before}{name}{self._syntax.between}") for name in self._functions}
        name = max((name for name, place in places.items() if place >= 0), key=len, default=None)
        if name is None:
            return None if OPEN in places.values() else self._begin_with_arguments(at, before)
        if self._syntax.quote != '"':
            return self._take_quoted(name, places[name])
        self._held = self._held[places[name] :]
        self._add(name)
        self._arguments = self._reader(name)
        return True

    def _arguments_at(self, at: int, before: str) -> int:
        """Return the place of the arguments behind a name; OPEN or NO without."""
        tags = self._syntax.tags
        starts = ("{",) if tags is None else (tags.key, self._end)
        found = [follow(self._held, at, before + start) for start in starts]
        place = next((place for place in found if place >= 0), None)
        if place is None:
            return OPEN if OPEN in found else NO
        return place - 1 if tags is None else follow(self._held, at, before)

    def _reader(self, name: str) -> ArgumentsReader:
        if self._syntax.tags is None:
            return ObjectReader(is_within_object=self._syntax.object_at is not None)
        return TaggedReader(self._syntax.tags, self._functions[name], (self._again, self._end))

    def _take_quoted(self, name: str, place: int) -> bool | None:
        """Take a call once its arguments are complete; None while they are not."""
        try:
            found = quoted_object(self._held[place:], self._syntax.quote)
        except ValueError:
            return False
        if found is None:
            return None
        arguments, length = found
        self._add(name, arguments)
        self._held, self._is_behind_call = self._held[place + length :], True
        return True

    def _begin_with_arguments(self, at: int, before: str) -> bool | None:
        """Take a call whose object does not begin with the name, as `_begin`."""
        if self._syntax.object_at is None:
            return False
        key, other = self._syntax.keys
        start = before.rpartition("{")[0]
        opened = [follow(self._held, at, f'{start}{{"{first}":') for first in (other, *_OTHER_KEYS)]
        if all(place < 0 for place in opened):
            return None if OPEN in opened else False
        try:
            value, end = json.JSONDecoder().raw_decode(self._held, self._held.find("{", follow(self._held, at, start)))
        except ValueError:
            return None
        name, arguments = value.get(key), value.get(other)
        if not isinstance(name, str) or name not in self._functions or not isinstance(arguments, dict):
            return False
        self._add(name, json_text(arguments))
        self._held, self._is_behind_call = self._held[end:], True
        return True

    def _add(self, name: str, arguments: str = "") -> None:
        import secrets  # imports OpenSSL, 3 MB that generation does not need

        call = ToolCall("".join(secrets.choice(_LETTERS) for _ in CALL_ID), name, "")
        self._deltas.append(CallDelta(self._num_calls, arguments, call))
        self._num_calls += 1

    def _read_arguments(self, reader: ArgumentsReader) -> bool:
        """Take off the arguments, and the rest of the object that they stand in; False while more is to come."""
        arguments, self._held = reader.read(self._held)
        if arguments:
            self._deltas.append(CallDelta(self._num_calls - 1, arguments))
        if reader.has_ended:
            self._arguments, self._is_behind_call = None, True
        return reader.has_ended

    def _go_on_behind_call(self, *, is_last: bool) -> bool:
        """Find out whether another call follows, or the end of the calls; False while that is open."""
        another = self._begin(0, self._again) if self._again else False
        if another:
            self._is_behind_call = self._arguments is None
            return True
        end = follow(self._held, 0, self._end)
        if not is_last and (another is None or end == OPEN):
            return False
        if end != NO:
            self._held = "" if end == OPEN else self._held[end:]
        self._is_behind_call = False
        return True


def _begun(mark: str, text: str) -> int:
    """Return the length of the longest end of a text that begins a mark."""
    return next((length for length in range(len(mark) - 1, 0, -1) if text.endswith(mark[:length])), 0)


def joined_calls(deltas: Sequence[CallDelta]) -> tuple[ToolCall, ...]:
    """Return whole calls of their parts."""
    found = []
    for _, parts in itertools.groupby(deltas, lambda delta: delta.index):
        first, *others = parts
        assert first.begins is not None, "a call begins with its name"
        text = "".join(part.arguments for part in (first, *others))
        found.append(ToolCall(first.begins.id, first.begins.name, text))
    return tuple(found)
