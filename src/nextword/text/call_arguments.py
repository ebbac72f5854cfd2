"""The arguments of a call as a model writes them, and as JSON: objects of JSON, texts in tags, objects with quotes.

An `ArgumentsReader` gets the text behind the name of a function as it grows, and gives out JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nextword.text.json_text import json_text
from nextword.text.schema_types import allowed_types, type_of
from nextword.text.tool_syntax import NO, OPEN, TaggedArguments, follow

_WORDS = {"True": True, "False": False, "None": None}
"""Values as templates write them that know no JSON: in the words of Python."""
_NOTHING = object()
_KEY = re.compile(r'(?<=[{,])(\s*)([^\s"{}\[\],:][^"{}\[\],:]*?)\s*:')
_WORD = re.compile(r"(?<=[:\[,])(\s*)(True|False|None)(?=\s*[,}\]])")


class ArgumentsReader(Protocol):
    """Reads the arguments of one call."""

    @property
    def has_ended(self) -> bool:
        """True once everything is read."""

    def read(self, text: str) -> tuple[str, str]:
        """Return what a text adds to the JSON of the arguments, and its rest: what is still open, or behind them."""


class ObjectReader:
    """Reads a JSON object as it is, and on to the end of the object that it stands in, if any."""

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


class TaggedReader:
    """Reads arguments that stand in tags, each when it is complete; their types are those of the function's schema."""

    def __init__(self, marks: TaggedArguments, parameters: Mapping[str, Any], after: Sequence[str]) -> None:
        """`after`: the texts of which one stands behind the last argument."""
        self._marks, self._parameters, self._after = marks, parameters, [text for text in after if text]
        self._pattern = _pattern(marks)
        self._has_arguments = False
        self.has_ended = False

    def read(self, text: str) -> tuple[str, str]:
        """Return the arguments that are complete, and the rest."""
        found = ""
        while (argument := self._pattern.match(text)) is not None:
            found += ", " if self._has_arguments else "{"
            parts = argument.groupdict()
            found += self._pair(parts["name"], parts["value"] if parts.get("plain") is None else parts["plain"])
            self._has_arguments = True
            text = text[argument.end() :]
        behind = [follow(text, 0, one) for one in self._after]
        is_argument = follow(text, 0, self._marks.key) != NO
        if any(place >= 0 for place in behind) or not (is_argument or OPEN in behind):
            self.has_ended = True
            found += "}" if self._has_arguments else "{}"
        return found, text

    def _pair(self, name: str, value: str) -> str:
        properties = self._parameters.get("properties")
        schema = properties.get(name) if isinstance(properties, Mapping) else None
        types = allowed_types(schema, self._parameters)
        return f"{json_text(name)}: {json_text(_typed(value, types))}"


def _pattern(marks: TaggedArguments) -> re.Pattern[str]:
    """Return the pattern of one argument, white space between its marks aside; a line end at a value is the mark's."""
    first, last = r"\n?" if marks.value.endswith("\n") else "", r"\n?" if marks.end.startswith("\n") else ""
    plain = r"<!\[CDATA\[(?P<plain>.*?)\]\]>\s*|" if marks.has_cdata else ""
    key, value, end = (r"\s*".join(map(re.escape, text.split())) for text in (marks.key, marks.value, marks.end))
    return re.compile(rf"\s*{key}(?>(?P<name>.+?)\s*{value}){first}(?:{plain}(?P<value>.*?){last}){end}", re.DOTALL)


def _typed(text: str, types: frozenset[str]) -> Any:
    """Return a value of a type that the schema allows: that which the text has as JSON, or the text itself."""
    value = _WORDS.get(text.strip(), _NOTHING)
    if value is _NOTHING:
        value = _parsed(text)
    kind = None if value is _NOTHING else type_of(value)
    fits = kind is not None and (not types or kind in types or (kind == "integer" and "number" in types))
    return value if fits else text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return _NOTHING


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def quoted_object(text: str, quote: str) -> tuple[str, int] | None:
    """Return the JSON of an object whose strings stand between marks, and whose keys have none; and its length.

    None while it has not ended. Raises ValueError for what is no such object.
    """
    depth, end = 0, -1
    for part in re.finditer(rf"{re.escape(quote)}.*?(?:{re.escape(quote)}|\Z)|[{{}}\[\]]", text, re.DOTALL):
        depth += (part[0] in "{[") - (part[0] in "}]")
        if depth == 0:
            end = part.end()
            break
    if end < 0:
        return None
    parts = text[:end].split(quote)
    structure = (_WORD.sub(_word, _KEY.sub(r'\1"\2":', part)) for part in parts[::2])
    strings = [*(json_text(part) for part in parts[1::2]), ""]
    value = json.loads("".join(part for pair in zip(structure, strings, strict=True) for part in pair))
    if not isinstance(value, dict):
        raise ValueError("no object")
    return json_text(value), end


def _word(found: re.Match[str]) -> str:
    return found[1] + json.dumps(_WORDS[found[2]])
