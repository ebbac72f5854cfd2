"""`Progress`: the argument of a workflow's `on_progress` callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """State of work in progress; `str` of it is a line to show."""

    what: str
    """Plural noun of the counted units, or a description of the work."""
    done: int = 0
    """Units of work that are done."""
    total: int | None = None
    """None if it is not known."""
    line: str | None = None
    """Line to show in place of the fields above."""

    def __str__(self) -> str:
        return self.line or (self.what if self.total is None else f"{self.done:,} of {self.total:,} {self.what}")


OnProgress = Callable[[Progress], None]
"""Called with each change; what it returns is ignored."""


def ignore_progress(progress: Progress) -> None:
    """Do nothing: the default of `on_progress`."""
