"""`CallSplitter`: tell the calls of tools in an answer from what is said, as the text grows.

A call is what has the syntax of the model's chat template, white space aside, and the name of one of the tools.
Anything else stays text.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from nextword.text.tool_syntax import CALL_ID, CallSyntax

_OPEN, _NO = -1, -2
"""Results of `_follow` for a text that ends within the pattern, and for one that departs from it."""
_LETTERS = string.ascii_letters + string.digits
_WRITTEN_ID = re.compile(r"[\w.:-]+")


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

    def __init__(self, syntax: CallSyntax, names: Sequence[str]) -> None:
        """Begin an answer that may call functions of these names."""
        self._syntax, self._names = syntax, names
        self._again, self._end = syntax.again, syntax.end
        if syntax.object_at is not None:  # the rest of the object is read as JSON
            self._again, self._end = (text.partition("}")[2] for text in (syntax.again, syntax.end))
        self._held = ""
        self._object: _ObjectReader | None = None
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
            if self._object is not None:
                is_going_on = self._read_object(self._object)
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
            return ("" if self._num_calls and not held.strip() else self._take(len(held))), False
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
        places = {name: _follow(self._held, at, f"{before}{name}{self._syntax.between}{{") for name in self._names}
        name = next((name for name, place in places.items() if place >= 0), None)
        if name is not None:
            self._held = self._held[places[name] - 1 :]
            self._add(name)
            self._object = _ObjectReader(is_within_object=self._syntax.object_at is not None)
            return True
        return None if _OPEN in places.values() else self._begin_with_arguments(at, before)

    def _begin_with_arguments(self, at: int, before: str) -> bool | None:
        """Take a call whose object has the name behind the arguments, as `_begin`."""
        if self._syntax.object_at is None:
            return False
        key, other = self._syntax.keys
        start = before.rpartition("{")[0]
        opened = _follow(self._held, at, f'{start}{{"{other}":')
        if opened < 0:
            return None if opened == _OPEN else False
        try:
            value, end = json.JSONDecoder().raw_decode(self._held, self._held.find("{", _follow(self._held, at, start)))
        except ValueError:
            return None
        if value.get(key) not in self._names or not isinstance(value[other], dict):
            return False
        self._add(value[key], json.dumps(value[other], ensure_ascii=False))
        self._held, self._is_behind_call = self._held[end:], True
        return True

    def _add(self, name: str, arguments: str = "") -> None:
        import secrets  # imports OpenSSL, 3 MB that generation does not need

        call = ToolCall("".join(secrets.choice(_LETTERS) for _ in CALL_ID), name, "")
        self._deltas.append(CallDelta(self._num_calls, arguments, call))
        self._num_calls += 1

    def _read_object(self, reader: _ObjectReader) -> bool:
        """Take off the arguments, and the rest of the object that they stand in; False while more is to come."""
        arguments, self._held = reader.read(self._held)
        if arguments:
            self._deltas.append(CallDelta(self._num_calls - 1, arguments))
        if reader.has_ended:
            self._object, self._is_behind_call = None, True
        return reader.has_ended

    def _go_on_behind_call(self, *, is_last: bool) -> bool:
        """Find out whether another call follows, or the end of the calls; False while that is open."""
        another = self._begin(0, self._again) if self._again else False
        if another:
            self._is_behind_call = self._object is None
            return True
        end = _follow(self._held, 0, self._end)
        if not is_last and (another is None or end == _OPEN):
            return False
        if end != _NO:
            self._held = "" if end == _OPEN else self._held[end:]
        self._is_behind_call = False
        return True


class _ObjectReader:
    """Reads the JSON object of a call's arguments, and on to the end of the object that it stands in, if any."""

    def __init__(self, *, is_within_object: bool) -> None:
        self._last_depth = -1 if is_within_object else 0
        self._depth = 0
        self._is_closed = False
        """True once the arguments have ended."""
        self._is_string = self._is_escaped = False

    @property
    def has_ended(self) -> bool:
        """True once everything is read."""
        return self._is_closed and self._depth == self._last_depth

    def read(self, text: str) -> tuple[str, str]:
        """Return the arguments in a text, and what is behind all of the object."""
        end = 0
        for place, character in enumerate(text):
            if self.has_ended:
                return text[:end], text[place:]
            self._count(character)
            if not self._is_closed:
                end = place + 1
                self._is_closed = self._depth == 0
        return text[:end], ""

    def _count(self, character: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._is_string:
            self._is_escaped = character == "\\"
            self._is_string = character != '"'
        elif character == '"':
            self._is_string = True
        else:
            self._depth += (character in "{[") - (character in "}]")


def _follow(text: str, at: int, pattern: str) -> int:
    """Return the place behind a pattern in a text, white space aside; _OPEN if the text ends within it, _NO without."""
    for index, part in enumerate(pattern.split(CALL_ID)):
        if index:
            written = _WRITTEN_ID.match(text, at)
            if written is None or written.end() == len(text):
                return _OPEN if at == len(text) or written else _NO
            at = written.end()
        for character in part:
            if character.isspace():
                continue
            while at < len(text) and text[at].isspace():
                at += 1
            if at == len(text):
                return _OPEN
            if text[at] != character:
                return _NO
            at += 1
    return at


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
