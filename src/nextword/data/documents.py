"""`read_documents`: read the texts of a corpus in order, each with its file and line.

A text file is one document; JSON lines, JSON and Parquet hold one in each record. Memory does not grow with the corpus:
a text file longer than `LONGEST_PIECE` comes in pieces. This module knows no tokens.
"""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from nextword.data.files import TEXT, bare_name, file_kind, find_files
from nextword.data.records import OnBad, Record, read_records, refuse
from nextword.data.utf8 import NotUnicodeError, open_utf8
from nextword.errors import DataError

_TABLES = (".csv", ".tsv")
LONGEST_PIECE = 1 << 21
"""Maximum number of characters of a piece of a text file."""


@dataclasses.dataclass(frozen=True)
class Document:
    """Text, or a piece of a long one, with its file and line."""

    text: str
    path: Path
    line: int
    """First line of the text, from 1; the number of the record in a Parquet file or a JSON array."""
    continues: bool = False
    """True if this text directly continues the one before: both are pieces of one file."""

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.line}"


def read_documents(
    paths: Sequence[Path | str], *, field: str = "text", on_bad: OnBad = None, longest_piece: int = LONGEST_PIECE
) -> Iterator[Document]:
    """Read the documents of files and folders: .txt, .md, .jsonl, .json, .parquet; all but the last also .gz and .zst.

    `field`: the field of a record that holds its text. A text file of more than `longest_piece` characters is cut after
    a paragraph, else a line, else a word; its pieces joined are the file. `on_bad` is called for each text or record
    that cannot be read, which is then left out. Raises DataError, naming file and line, without it; and always for a
    path that does not exist.
    """
    files = find_files(paths)
    return (document for file in files for document in _file_documents(file, field, on_bad, longest_piece))


def _file_documents(path: Path, field: str, on_bad: OnBad, longest_piece: int) -> Iterator[Document]:
    if bare_name(path).suffix.lower() in _TABLES:
        raise DataError(f"{path}: a table is no text; write it as JSON lines, or call it .txt to take it as it stands")
    if file_kind(path) == TEXT:
        yield from _text_pieces(path, on_bad, longest_piece)
        return
    for record in read_records(path, columns=[field], on_bad=on_bad):
        text = record.fields.get(field)
        if problem := _text_problem(record, field):
            refuse(problem, on_bad)
        else:
            yield Document(str(text), path, record.line)


def _text_problem(record: Record, field: str) -> str | None:
    """Return the reason why a record is no document; None if it is one."""
    if field not in record.fields:
        known = ", ".join(record.fields) or "none"
        return f"{record.place}: no field {field!r}; the fields are {known} (--field names another)"
    text = record.fields[field]
    if not isinstance(text, str):
        return f"{record.place}: field {field!r} is not text but {type(text).__name__}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{record.place}: character {error.start} of field {field!r} is half a surrogate pair, not Unicode"
    return None


def _text_pieces(path: Path, on_bad: OnBad, longest_piece: int) -> Iterator[Document]:
    line, continues = 1, False
    try:
        for text in _cut(_decoded(path), longest_piece):
            yield Document(text, path, line, continues)
            line, continues = line + text.count("\n"), True
    except NotUnicodeError as error:
        refuse(f"{path}: {error}", on_bad)


def _decoded(path: Path, block_bytes: int = 1 << 20) -> Iterator[str]:
    """Decode a file in blocks; line ends stay as they are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    with open_utf8(path) as stream:
        while True:
            block = stream.read(block_bytes)
            held = len(decoder.getstate()[0])  # bytes of a character that the last block ended in
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise NotUnicodeError(position - held + error.start) from None
            if not block:
                return
            position += len(block)


def _cut(blocks: Iterator[str], longest: int) -> Iterator[str]:
    """Cut a text into pieces of at most `longest` characters; none for an empty text."""
    parts: list[str] = []
    size = 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size <= longest:
            continue
        text = "".join(parts)
        while len(text) > longest:
            end = _end_of_piece(text, longest)
            yield text[:end]
            text = text[end:]
        parts, size = [text], len(text)
    if size:
        yield "".join(parts)


def _end_of_piece(text: str, longest: int) -> int:
    """Return the end of the first piece: after the last paragraph in its second half, else line, else word."""
    for end in ("\n\n", "\n", " "):
        position = text.rfind(end, longest // 2, longest)
        if position >= 0:
            return position + len(end)
    return longest
