"""A Markdown page as the steps a reader would follow: its commands and Python snippets, each with the output it shows.

In: the text of a page. Out: steps in order. Only three kinds of fence exist: `console` (lines that begin with "$ " are
commands, the lines below are their output), `python`, and `text` right after it, which is what the snippet prints. Any
other fence is an error, so that nothing on a page goes unrun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_FENCE = re.compile(r"^ *```")
_PROMPT = "$ "


@dataclass(frozen=True)
class Step:
    """One thing to run."""

    kind: Literal["command", "snippet"]
    source: str
    shown: str
    """The output on the page; empty if it shows none."""
    line: int
    """Of the page, from 1, where the source begins."""


@dataclass(frozen=True)
class _Fence:
    language: str
    body: list[str]
    line: int
    """Of the first line of the body."""
    is_after: bool
    """Whether nothing but blank lines stands between the fence before it and this one."""


def read_steps(page: str) -> list[Step]:
    """The steps of a page, in order. Raises ValueError for a fence that would not be run."""
    steps: list[Step] = []
    language_before = ""
    for fence in _fences(page.splitlines()):
        if fence.language == "console":
            steps.extend(_commands(fence))
        elif fence.language == "python":
            steps.append(Step("snippet", "\n".join(fence.body), "", fence.line))
        elif fence.language == "text" and fence.is_after and language_before == "python":
            snippet = steps.pop()
            steps.append(Step("snippet", snippet.source, "\n".join(fence.body), snippet.line))
        else:
            raise ValueError(f"line {fence.line - 1}: a fence of {fence.language or 'no kind'} here is never run")
        language_before = fence.language
    return steps


def _fences(lines: list[str]) -> Iterator[_Fence]:
    start: int | None = None
    is_after = False
    for index, line in enumerate(lines):
        if not _FENCE.match(line):
            is_after = is_after and not line.strip()
        elif line.startswith(" "):
            raise ValueError(f"line {index + 1}: an indented fence is never run")
        elif start is None:
            start = index + 1
            after_fence = is_after
        else:
            yield _Fence(lines[start - 1][3:].strip(), lines[start:index], start + 1, after_fence)
            start, is_after = None, True
    if start is not None:
        raise ValueError(f"line {start}: the fence has no end")


def _commands(fence: _Fence) -> Iterator[Step]:
    """A command goes on in the next line where it ends with a backslash."""
    starts = [index for index, line in enumerate(fence.body) if line.startswith(_PROMPT)]
    if not starts or starts[0] != 0:
        raise ValueError(f"line {fence.line}: a console fence begins with a command")
    for start, end in zip(starts, [*starts[1:], len(fence.body)], strict=True):
        first_output = start + 1
        while fence.body[first_output - 1].endswith("\\"):
            first_output += 1
        command = " ".join(line.removesuffix("\\") for line in fence.body[start:first_output])
        shown = "\n".join(fence.body[first_output:end]).strip("\n")
        yield Step("command", command.removeprefix(_PROMPT), shown, fence.line + start)
