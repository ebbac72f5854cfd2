"""`CallSyntax`: how a model writes calls of tools. `find_tool_syntax.py` finds it."""

from __future__ import annotations

import re
from dataclasses import dataclass

CALL_ID = "q7Zw4Xy9k"
"""Stands in the texts of a syntax for the id of a call: nine letters or digits, as Mistral's templates want them."""
_TAG = re.compile(r"<[^<>\s]+>|\[\w+\]")


@dataclass(frozen=True)
class CallSyntax:
    """Texts around the names and arguments of calls, `CALL_ID` for ids included."""

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

    @property
    def mark(self) -> str:
        """Text by which a call in an answer is found: the first tag of `begin`; empty where it is JSON alone."""
        before = self.begin if self.object_at is None else self.begin[: self.object_at]
        tag = _TAG.match(before)
        return tag[0] if tag else before.strip()
