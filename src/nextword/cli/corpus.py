"""What commands that read a corpus share: its files, the field of its records, and what becomes of damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.console import count, note
from nextword.errors import DataError

if TYPE_CHECKING:
    from nextword.data.documents import Document

CorpusArgument = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(
        metavar="CORPUS [CORPUS ...]",
        help="Files and folders: .txt, .md, .jsonl, .json, .parquet; all but the last also as .gz and .zst.",
    ),
]
"""What a command reads documents from."""

OutputArgument = Annotated[str, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
"""The folder that a command writes."""


FieldArgument = Annotated[str, tyro.conf.arg(help="The field that holds the text of a record.")]
"""Where records have their text."""
SkipArgument = Annotated[
    bool, tyro.conf.arg(help="Leave out and count what cannot be read, instead of ending with an error.")
]
"""What becomes of damage."""


class Reader:
    """The documents of a corpus, and how many were left out."""

    def __init__(self, corpus: tuple[str, ...], *, field: str, skip_unreadable: bool) -> None:
        """Raises DataError if no corpus is named."""
        if not corpus:
            raise DataError("no CORPUS: name files or folders with text")
        self._corpus, self._field = corpus, field
        self._unreadable: list[DataError] = []
        self.on_bad = self._unreadable.append if skip_unreadable else None
        """What is told of each text that cannot be read; None if that is to be an error."""

    def documents(self) -> Iterator[Document]:
        """All that can be read. Raises DataError for the first that cannot, unless such are to be skipped."""
        from nextword.data.documents import read_documents

        return read_documents(self._corpus, field=self._field, on_bad=self.on_bad)

    @property
    def num_unreadable(self) -> int:
        """How many were left out so far."""
        return len(self._unreadable)

    def note_unreadable(self) -> None:
        """Say how many were left out, and which was the first."""
        if self._unreadable:
            note(f"{count(len(self._unreadable), 'unreadable text')} left out; the first: {self._unreadable[0]}")
