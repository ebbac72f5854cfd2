"""Which documents of a corpus are kept: bounds on length and on the share of letters, and one copy of each text.

Every document left out is counted under the reason. This module knows no tokens.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from nextword.data.documents import Document
from nextword.errors import ConfigError

Deduplicate = Literal["none", "exact", "near"]


@dataclasses.dataclass(frozen=True)
class SelectionOptions:
    """What a document must be like to be kept."""

    min_characters: int = 1
    """Shortest document; 1 leaves out empty ones."""
    max_characters: int | None = None
    """Longest document; None: no limit. Of a text file of more than 2**20 characters the first so many count."""
    min_letters: float = 0.0
    """Share of its characters that are letters of any script."""
    deduplicate: Deduplicate = "none"
    """exact: the same text; near: the same but for a few words (MinHash over groups of five words)."""

    def __post_init__(self) -> None:
        if self.min_characters < 0 or (self.max_characters is not None and self.max_characters < self.min_characters):
            bounds = f"{self.min_characters} to {self.max_characters}"
            raise ConfigError(f"a document of {bounds} characters: must be two numbers from 0, the smaller one first")
        if not 0 <= self.min_letters <= 1:
            raise ConfigError(f"min_letters {self.min_letters}: must be a share from 0 to 1")


@dataclasses.dataclass
class SelectionReport:
    """What became of the documents."""

    num_read: int = 0
    num_kept: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    """Reason -> documents."""


class _Duplicates(Protocol):
    def is_new(self, text: str) -> bool: ...


def select(documents: Iterable[Document], options: SelectionOptions, report: SelectionReport) -> Iterator[Document]:
    """The documents to keep; the pieces of a long text stay or go with the first one."""
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
    from nextword.data.duplicates import ExactDuplicates, NearDuplicates  # numpy takes time that --help has not

    return ExactDuplicates() if name == "exact" else NearDuplicates()
