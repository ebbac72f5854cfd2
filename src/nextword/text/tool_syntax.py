"""`CallSyntax`: how a model writes calls of tools, and `follow` to match it. `find_tool_syntax.py` finds it."""

from __future__ import annotations

import re
from dataclasses import dataclass

CALL_ID = "q7Zw4Xy9k"
"""Stands in the texts of a syntax for the id of a call: nine letters or digits, as Mistral's templates want them."""
CALL_NUMBER = "q7Zw4Xy9n"
"""Stands there for the number of a call, which grows within an answer, or within the conversation."""
OPEN, NO = -1, -2
"""Results of `follow` for a text that ends within the pattern, and for one that departs from it."""
_WRITTEN = {CALL_ID: re.compile(r"[\w.:-]+"), CALL_NUMBER: re.compile(r"\d+")}
_BETWEEN = re.compile(f"({CALL_ID}|{CALL_NUMBER})")
_TAG = re.compile(r"<[^<>\s]+>|\[\w+\]")


@dataclass(frozen=True)
class TaggedArguments:
    """Texts around arguments that are no JSON object: each stands by itself, its value as text, or as JSON."""

    key: str
    """Before the name of an argument."""
    value: str
    """Between its name and its value."""
    end: str
    """Behind its value."""
    has_cdata: bool = False
    """True if the text of a value may stand within XML's marks of plain text."""


@dataclass(frozen=True)
class CallSyntax:
    """Texts around the names and arguments of calls, with `CALL_ID` for ids and `CALL_NUMBER` for numbers."""

    begin: str
    """Before the name of the first call."""
    between: str
    """Between a name and its arguments."""
    again: str
    """Between the arguments of a call and the name of the next one; empty: an answer has one call."""
    end: str
    """Behind the arguments of the last call."""
    separators: tuple[str, str]
    """Between the items of the arguments, and between names and values in them."""
    object_at: int | None
    """Place in `begin` of the JSON object that a call is; None where it is none."""
    keys: tuple[str, str] = ("name", "arguments")
    """Names in that object of the function's name and of its arguments."""
    tags: TaggedArguments | None = None
    """Tags of the arguments; None: they are an object."""
    quote: str = '"'
    """Around the strings of arguments that are an object; any other than JSON's own: its keys have none."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All its texts, in which control tokens may stand."""
        tags = () if self.tags is None else (self.tags.key, self.tags.value, self.tags.end)
        return (self.begin, self.between, self.again, self.end, self.quote, *tags)

    @property
    def mark(self) -> str:
        """Text by which a call in an answer is found: the first tag of `begin`; empty where it is JSON alone."""
        before = self.begin if self.object_at is None else self.begin[: self.object_at]
        tag = _TAG.match(before)
        return tag[0] if tag else before.strip()


def follow(text: str, at: int, pattern: str) -> int:
    """Return the place behind a pattern in a text, white space aside; OPEN if the text ends within it, NO without."""
    for part in _BETWEEN.split(pattern):
        if part in _WRITTEN:
            written = _WRITTEN[part].match(text, at)
            if written is None or written.end() == len(text):
                return OPEN if at == len(text) or written else NO
            at = written.end()
            continue
        for character in part:
            if character.isspace():
                continue
            while at < len(text) and text[at].isspace():
                at += 1
            if at == len(text):
                return OPEN
            if text[at] != character:
                return NO
            at += 1
    return at
