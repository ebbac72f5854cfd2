"""Counts and tables as plain text: the words and columns that results and messages share."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def count(number: int, noun: str) -> str:
    """Format a count with its noun, adding a plural s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def excerpt(text: str, *, length: int = 48) -> str:
    """Quote the beginning of a text, at most `length` characters."""
    return repr(text if len(text) <= length else f"{text[: length - 3]}...")


def printable(text: str) -> str:
    """Return a text that UTF-8 can write: "?" for each byte of a path that is no text."""
    return text.encode("utf-8", "replace").decode()


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> str:
    """Align rows under the names of their columns; those with an index in `left` to the left, others to the right."""
    lines = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths, left) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], left: Collection[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    return "  ".join(cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in pairs).rstrip()
