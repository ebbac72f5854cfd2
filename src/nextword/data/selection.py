"""`select`: filter the documents of a corpus by length, share of letters and duplicates.

Every document that is left out is counted under its reason. This module knows no tokens.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from nextword.checks import checked_fields
from nextword.data.documents import Document
from nextword.errors import ConfigError

Deduplicate = Literal["none", "exact", "near"]


@checked_fields
@dataclasses.dataclass(frozen=True)
class SelectionOptions:
    """Conditions that a document must meet to be kept."""

    min_characters: int = 1
    """Shortest document; 1 leaves out empty ones."""
    max_characters: int | None = None
    """Longest document; None: no limit. For a text file of more than 2**20 characters, the first 2**20 are judged."""
    min_letters: float = 0.0
    """Least share of characters that are letters of any script, from 0 to 1."""
    deduplicate: Deduplicate = "none"
    """Copies to leave out: exact, the same text; near, all but a few words the same (MinHash of five-word groups)."""

    def __post_init__(self) -> None:
        if self.min_characters < 0 or (self.max_characters is not None and self.max_characters < self.min_characters):
            bounds = f"{self.min_characters} to {self.max_characters}"
            raise ConfigError(f"a document of {bounds} characters: must be two numbers from 0, the smaller one first")
        if not 0 <= self.min_letters <= 1:
            raise ConfigError(f"min_letters {self.min_letters}: must be a share from 0 to 1")


@dataclasses.dataclass
class SelectionReport:
    """Counts of documents read, kept and left out."""

    num_read: int = 0
    """Documents that were read."""
    num_kept: int = 0
    """Documents that were kept."""
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    """Number of documents by reason."""


class _Duplicates(Protocol):
    def is_new(self, text: str) -> bool: ...


def select(documents: Iterable[Document], options: SelectionOptions, report: SelectionReport) -> Iterator[Document]:
    """Yield the documents to keep; the pieces of a long text are kept or left out with the first one."""
    duplicates = _duplicates(options.deduplicate)
    is_kept = False
    for document in documents:
        if not document.continues:
            reason = _fault(document.text, options) or ("" if duplicates.is_new(document.text) else "duplicate")
            is_kept = not reason
            report.num_read += 1
            report.num_kept += is_kept
            if reason:
                report.left_out[reason] += 1
        if is_kept:
            yield document


def _fault(text: str, options: SelectionOptions) -> str | None:
    if len(text) < options.min_characters:
        return "too short"
    if options.max_characters is not None and len(text) > options.max_characters:
        return "too long"
    if options.min_letters and sum(map(str.isalpha, text)) < options.min_letters * len(text):
        return "too few letters"
    return None


class _NoDuplicates:
    def is_new(self, text: str) -> bool:
        return True


def _duplicates(name: Deduplicate) -> _Duplicates:
    if name == "none":
        return _NoDuplicates()
    from nextword.data.duplicates import ExactDuplicates, NearDuplicates  # importing numpy would slow down --help

    return ExactDuplicates() if name == "exact" else NearDuplicates()
