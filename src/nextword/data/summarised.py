"""`read_summarised`: read texts with reference summaries from records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nextword.data.records import OnBad, read_records, refuse
from nextword.errors import DataError


@dataclass(frozen=True)
class SummarisedText:
    """Text with its reference summary; `place` is file and line."""

    text: str
    """The text."""
    summary: str
    """The reference summary."""
    place: str
    """File and line."""


def read_summarised(
    path: Path | str, *, text_field: str = "dialogue", summary_field: str = "summary", on_bad: OnBad = None
) -> Iterator[SummarisedText]:
    """Read the records of a .jsonl, .json or .parquet file.

    Raises DataError, naming file and line, for a record without text or summary, unless `on_bad` is given.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    for record in read_records(path, columns=[text_field, summary_field], on_bad=on_bad):
        text, summary = (record.fields.get(field) for field in (text_field, summary_field))
        if isinstance(text, str) and text.strip() and isinstance(summary, str) and summary.strip():
            yield SummarisedText(text, summary, record.place)
        else:
            known = ", ".join(record.fields) or "none"
            refuse(f"{record.place}: no text in {text_field!r} and {summary_field!r}; the fields are {known}", on_bad)
