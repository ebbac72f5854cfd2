"""`read_labelled`: read texts with their labels, from records or from lines with a tab.

| file | holds |
|---|---|
| .tsv | a text, a tab and its label on each line; a first line with `label` in its place names the columns |
| .jsonl, .json, .parquet | records with the fields `text` and `label` |

A label may be missing. This module does not know which labels there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nextword.data.files import bare_name
from nextword.data.records import OnBad, read_records, refuse
from nextword.data.utf8 import NotUnicodeError, decoded, open_utf8, text_lines
from nextword.errors import DataError

_TAB_SEPARATED = ".tsv"


@dataclass(frozen=True)
class LabelledText:
    """Text with its label as written, None if it has none; `place` is file and line."""

    text: str
    """The text."""
    label: str | None
    """Its true label, or None."""
    place: str
    """File and line."""


def read_labelled(
    path: Path | str, *, text_field: str = "text", label_field: str = "label", on_bad: OnBad = None
) -> Iterator[LabelledText]:
    """Read the texts of a file. Raises DataError, naming file and line, for a bad record unless `on_bad` is given."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    is_tab_separated = bare_name(path).suffix.lower() == _TAB_SEPARATED
    return _lines(path, on_bad) if is_tab_separated else _records(path, text_field, label_field, on_bad)


def _lines(path: Path, on_bad: OnBad) -> Iterator[LabelledText]:
    with open_utf8(path) as stream:
        for number, line in text_lines(stream, name=str(path)):
            place = f"{path}:{number}"
            try:
                text, _, label = decoded(line).partition("\t")
            except NotUnicodeError as error:
                refuse(f"{place}: {error} of the line", on_bad)
                continue
            if number == 1 and label == "label":
                continue
            if "\t" in label:
                refuse(f"{place}: {label.count(chr(9)) + 2} columns; expected two, a text and a label", on_bad)
            elif not text.strip():
                refuse(f"{place}: there is no text", on_bad)
            else:
                yield LabelledText(text, label.strip() or None, place)


def _records(path: Path, text_field: str, label_field: str, on_bad: OnBad) -> Iterator[LabelledText]:
    for record in read_records(path, columns=[text_field, label_field], on_bad=on_bad):
        text, label = record.fields.get(text_field), record.fields.get(label_field)
        if not isinstance(text, str) or not text.strip():
            known = ", ".join(record.fields) or "none"
            refuse(f"{record.place}: no text in field {text_field!r}; the fields are {known}", on_bad)
        elif label is not None and not isinstance(label, (str, int)):
            refuse(f"{record.place}: field {label_field!r} is not a label but {type(label).__name__}", on_bad)
        else:
            yield LabelledText(text, None if label is None else str(label), record.place)
