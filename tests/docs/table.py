"""Tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def names(fields: Iterable[str]) -> str:
    """Names in backticks, in the order of the alphabet."""
    return ", ".join(f"`{name}`" for name in sorted(fields))


def values(choices: Iterable[object]) -> str:
    """Values as JSON has them; none means null."""
    shown = [json.dumps(choice, ensure_ascii=False) for choice in choices]
    return " or ".join(f"`{one}`" for one in shown or ["null"])
