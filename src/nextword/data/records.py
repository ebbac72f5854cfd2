"""`read_records`: read the records of JSON lines, JSON and Parquet files, each with its file and line.

One line or batch is in memory at a time; only a .json file that holds one array is read whole. It knows no field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nextword.data.files import JSON, PARQUET, RECORD_KINDS, file_kind, open_decompressed
from nextword.errors import DataError, MissingExtraError

_LONGEST_LINE = 1 << 28
"""Maximum number of bytes of a line, so that a file without line ends is not read into memory whole."""
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
    with open_decompressed(path) as stream:
        if kind == JSON and (first := _first_line(stream)).lstrip().startswith(b"["):
            yield from _array_items(first + stream.read(), path)
        elif kind == JSON:
            yield from _line_values(stream, path, on_bad, first=first)
        else:
            yield from _line_values(stream, path, on_bad)


def _first_line(stream: IO[bytes]) -> bytes:
    """Read to the end of the first line that is not blank; a byte order mark is left out."""
    read = b""
    while not read.strip(b"\xef\xbb\xbf \t\r\n") and (line := stream.readline(_LONGEST_LINE)):
        read += line
    return read.removeprefix(b"\xef\xbb\xbf")


def _array_items(content: bytes, path: Path) -> Iterator[tuple[int, object]]:
    try:
        items = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {_reason(error)}") from None
    yield from enumerate(items, 1)


def _line_values(
    stream: IO[bytes], path: Path, on_bad: OnBad, *, first: bytes | None = None
) -> Iterator[tuple[int, object]]:
    number = 0
    pending = [] if first is None else first.splitlines(keepends=True)
    while line := pending.pop(0) if pending else stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise DataError(f"{path}:{number}: a line of more than {_LONGEST_LINE} bytes; is this JSON lines?")
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError) as error:
            refuse(f"{path}:{number}: not valid JSON: {_reason(error)}", on_bad)


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
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text at byte {error.start}"
    return str(error)


def _shown(value: object) -> str:
    return {list: "a list", str: "text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")
