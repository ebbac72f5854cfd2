"""`read_records`: read the records of JSON lines, JSON and Parquet files, each with its file and line.

One line or batch is in memory at a time; only a .json file that is one array or one object is read whole. It knows no
field.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextword.data.files import JSON, PARQUET, RECORD_KINDS, file_kind
from nextword.data.utf8 import NotUnicodeError, decoded, open_utf8, text_lines
from nextword.errors import DataError, MissingExtraError

_BATCH_RECORDS = 1024

OnBad = Callable[[DataError], None] | None
"""Function called for each bad record, which is then left out; None: the error is raised."""


class BadRecords:
    """Counter of records that cannot be read; `skip` False makes the first one an error."""

    def __init__(self, *, skip: bool) -> None:
        self.on_bad: OnBad = self._count if skip else None
        """Argument for the functions that read; None if bad records are errors."""
        self.num_bad = 0
        self.first: str | None = None
        """Message about the first bad record."""

    def _count(self, error: DataError) -> None:
        self.num_bad += 1
        self.first = self.first or str(error)


@dataclass(frozen=True)
class Record:
    """Fields of one record, with its file and line."""

    fields: Mapping[str, Any]
    path: Path
    line: int
    """Line, from 1; the number of the record in a Parquet file or a JSON array."""

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.line}"


def read_records(path: Path, *, columns: Sequence[str] | None = None, on_bad: OnBad = None) -> Iterator[Record]:
    """Read the records of a file; `columns`: the columns of Parquet to read, None for all.

    Raises DataError, naming file and line, for a record that cannot be read, unless `on_bad` is given.
    """
    for line, value in _values(path, columns, on_bad):
        if isinstance(value, Mapping):
            yield Record(value, path, line)
        else:
            refuse(f"{path}:{line}: holds {_shown(value)}; expected an object with fields", on_bad)


def refuse(message: str, on_bad: OnBad) -> None:
    """Raise a DataError, or pass it to `on_bad`."""
    error = DataError(message)
    if on_bad is None:
        raise error
    on_bad(error)


def _values(path: Path, columns: Sequence[str] | None, on_bad: OnBad) -> Iterator[tuple[int, object]]:
    kind = file_kind(path)
    if kind == PARQUET:
        yield from _parquet_rows(path, columns)
        return
    if kind not in RECORD_KINDS:
        raise DataError(f"{path}: records are read from .jsonl, .json and .parquet files")
    with open_utf8(path) as stream:
        if kind == JSON and _is_one_value(stream):
            yield from _items(stream.read(), path)
        else:
            yield from _line_values(text_lines(stream, name=str(path)), path, on_bad)


def _is_one_value(stream: io.BufferedReader) -> bool:
    """Return True if a file begins with an array, or with an object of several lines."""
    start = stream.peek().lstrip()
    return start.startswith(b"[") or start.partition(b"\n")[0].strip() == b"{"


def _items(content: bytes, path: Path) -> Iterator[tuple[int, object]]:
    try:
        value = _parsed(content)
    except (ValueError, RecursionError, NotUnicodeError) as error:
        raise DataError(f"{path}: not valid JSON: {_reason(error)}") from None
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _line_values(lines: Iterable[tuple[int, bytes]], path: Path, on_bad: OnBad) -> Iterator[tuple[int, object]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            yield number, _parsed(line)
        except (ValueError, RecursionError, NotUnicodeError) as error:
            refuse(f"{path}:{number}: not valid JSON: {_reason(error)}", on_bad)


def _parsed(content: bytes) -> object:
    return json.loads(decoded(content), object_pairs_hook=_with_unique_names)


def _with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):  # of two values one would be lost
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"field {name!r} appears twice")
    return fields


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[int, object]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow is not installed: pip install 'nextword[data]'") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            known = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(_BATCH_RECORDS, columns=known):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not readable as Parquet: {' '.join(str(error).split())}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)


def _shown(value: object) -> str:
    return {list: "a list", str: "text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")
