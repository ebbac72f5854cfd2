"""`parse_gbnf`: the grammars of llama.cpp (GBNF) as rules over sets of characters.

In: text such as `root ::= "yes" | [0-9]+`. Out: a tree for each rule. Source: grammars/README.md of llama.cpp.
"""

from __future__ import annotations

import dataclasses
import re

from nextword.errors import RequestError

_LAST = 0x10FFFF
_MOST_TIMES = 2_000
"""Bound of the numbers in {m,n}, as in llama.cpp."""


@dataclasses.dataclass(frozen=True)
class Characters:
    """One character of a set, or of all others."""

    ranges: tuple[tuple[int, int], ...]
    is_negated: bool = False


@dataclasses.dataclass(frozen=True)
class Rule:
    """A text of the rule of that name."""

    name: str


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Texts one after another."""

    items: tuple[Node, ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A text of one of these."""

    items: tuple[Node, ...]


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Texts of the same node one after another, `least` to `most` of them; None: any number."""

    item: Node
    least: int
    most: int | None


Node = Characters | Rule | Sequence | Choice | Repeated


def parse_gbnf(text: str) -> dict[str, Node]:
    """Return the rules by name. Raises RequestError, saying where, for what is no GBNF or has no rule `root`."""
    reader = _Reader(text)
    rules: dict[str, Node] = {}
    while not reader.is_at_end:
        name = reader.take(_NAME, "the name of a rule")
        reader.take(r"::=", "::=", lines=True)
        if name in rules:
            raise reader.error(f"a second rule {name}")
        rules[name] = _choice(reader, inside=False)
    for used in [*reader.used, "root"]:
        if used not in rules:
            raise RequestError(f"grammar: the rule {used!r} is missing")
    return rules


_NAME = r"[A-Za-z0-9_-]+"


class _Reader:
    """A text and the place up to which it was read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.used: list[str] = []
        self.skip(lines=True)

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._text)

    def skip(self, *, lines: bool) -> None:
        """Pass over spaces and comments, and with `lines` over the ends of lines."""
        found = re.compile(r"(?:[ \t]|#[^\n]*|[\r\n])*" if lines else r"(?:[ \t]|#[^\n]*)*").match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def find(self, pattern: str, *, lines: bool = False) -> str | None:
        """Take a text of that pattern, and the space after it, if it stands here."""
        found = re.compile(pattern).match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        self.skip(lines=lines)
        return found[0]

    def take(self, pattern: str, expected: str, *, lines: bool = False) -> str:
        found = self.find(pattern, lines=lines)
        if found is None:
            raise self.error(f"expected {expected}")
        return found

    def error(self, what: str) -> RequestError:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - self._text.rfind("\n", 0, self._at)
        return RequestError(f"grammar, line {line}, column {column}: {what}")


def _choice(reader: _Reader, *, inside: bool) -> Node:
    """Read alternatives: up to the end of the line, or inside of brackets up to the closing one."""
    items = [_sequence(reader, inside=inside)]
    while reader.find(r"\|", lines=True):
        items.append(_sequence(reader, inside=inside))
    if not inside and not reader.is_at_end:
        reader.take(r"\r?\n", "the end of the line", lines=True)
    return items[0] if len(items) == 1 else Choice(tuple(items))


def _sequence(reader: _Reader, *, inside: bool) -> Node:
    items: list[Node] = []
    while (item := _item(reader, inside=inside)) is not None:
        items.append(_repeated(reader, item, inside=inside))
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def _item(reader: _Reader, *, inside: bool) -> Node | None:
    """Read one text, set, dot, rule or bracket; None if none stands here."""
    if (literal := reader.find(r'"(?:[^"\\\n]|\\.)*"', lines=inside)) is not None:
        return Sequence(tuple(Characters(((code, code),)) for code in _codes(reader, literal[1:-1])))
    if (found := reader.find(r"\[(?:[^\]\\\n]|\\.)*\]", lines=inside)) is not None:
        return _set(reader, found[1:-1])
    if reader.find(r"\.", lines=inside):
        return Characters(((0, _LAST),))
    if reader.find(r"\(", lines=True):
        node = _choice(reader, inside=True)
        reader.take(r"\)", "')'", lines=inside)
        return node
    if name := reader.find(_NAME, lines=inside):
        reader.used.append(name)
        return Rule(name)
    return None


def _repeated(reader: _Reader, item: Node, *, inside: bool) -> Node:
    while found := reader.find(r"[*+?]|\{\s*\d{1,99}\s*(?:,\s*(?:\d{1,99})?\s*)?\}", lines=inside):
        numbers = re.findall(r"\d+", found)
        if found in "*+?":
            least, most = int(found == "+"), 1 if found == "?" else None
        else:
            least, most = int(numbers[0]), int(numbers[-1]) if len(numbers) == 2 or "," not in found else None
        if max(least, most or 0) > _MOST_TIMES or (most is not None and most < least):
            raise reader.error(f"{found} repeats from {least} to {most} times: at most {_MOST_TIMES}, in this order")
        item = Repeated(item, least, most)
    return item


_ESCAPES = {"n": 10, "r": 13, "t": 9}
_CODE = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\(.)|(.)", re.DOTALL)


def _codes(reader: _Reader, text: str) -> list[int]:
    """Return the code points of a text with escapes."""
    codes = []
    for found in _CODE.finditer(text):
        digits = found[1] or found[2] or found[3]
        if found[4] is not None and found[4] not in 'nrt\\"[]-^':
            raise reader.error(f"unknown escape \\{found[4]}")
        code = int(digits, 16) if digits else _ESCAPES.get(found[4], ord(found[4])) if found[4] else ord(found[5])
        if code > _LAST or 0xD800 <= code < 0xE000:
            raise reader.error(f"{found[0]} is no character")
        codes.append(code)
    return codes


def _set(reader: _Reader, text: str) -> Characters:
    """Read what stands between [ and ]."""
    is_negated = text.startswith("^")
    spans = list(_CODE.finditer(text[is_negated:]))
    codes = _codes(reader, text[is_negated:])
    ranges, at = [], 0
    while at < len(codes):
        is_range = at + 2 < len(codes) and spans[at + 1][0] == "-"
        last = codes[at + 2] if is_range else codes[at]
        if last < codes[at]:
            raise reader.error(f"[{text}] has a range that ends before it begins")
        ranges.append((codes[at], last))
        at += 3 if is_range else 1
    if not ranges and not is_negated:
        raise reader.error("[] has no character")
    return Characters(tuple(ranges), is_negated)
