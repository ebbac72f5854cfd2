"""What becomes of lines that cannot be read: an error that names the line, or a count of those left out."""

from __future__ import annotations

from typing import Annotated

import tyro

from nextword.cli.console import count, note
from nextword.errors import DataError

SkipBadArgument = Annotated[
    bool, tyro.conf.arg(help="Leave out and count lines that cannot be read, instead of ending with an error.")
]
"""Whether to leave them out."""


class BadLines:
    """Counts what was left out."""

    def __init__(self, *, skip: bool) -> None:
        self._errors: list[DataError] = []
        self.on_bad = self._errors.append if skip else None
        """What is told of each such line; None if it is to be an error."""

    def note(self) -> None:
        """Say how many there were, and which was the first."""
        if self._errors:
            note(f"{count(len(self._errors), 'unreadable line')} left out; the first: {self._errors[0]}")
