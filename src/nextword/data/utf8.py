"""`open_utf8`: read any file of text as UTF-8; `text_lines`: its lines. Every verb reads text and records by these.

A byte order mark says how a file is encoded, and is no text. A line ends with a line feed, or carriage return and line
feed; all other characters that Unicode counts as line ends (U+2028, U+0085, vertical tab) belong to a line.
"""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nextword.data.files import open_decompressed
from nextword.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_MARK = 4
_BLOCK_BYTES = 1 << 20
_CARRIAGE_RETURNS = "{}: its lines end in carriage returns alone; save it with line feeds"
LONGEST_TEXT = 1 << 28
"""Bytes of a text that is read whole; a device or a pipe may have no end."""
LONGEST_LINE = 1 << 28
"""Maximum number of bytes of a line, so that a file without line ends is not read into memory whole."""


class NotUnicodeError(Exception):
    """Bytes that are not UTF-8; `position` is that of the first of them."""

    def __init__(self, position: int) -> None:
        super().__init__(f"not UTF-8 text at byte {position}")
        self.position = position


@contextlib.contextmanager
def open_utf8(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file, decompressed by the end of its name, for reading UTF-8 without a byte order mark.

    Files with the mark of UTF-16 or UTF-32 are converted. Raises DataError if the file cannot be read or its encoding
    is unknown; whether UTF-8 is valid is for the reader to see.
    """
    with open_decompressed(path) as stream:
        yield as_utf8(stream, name=str(path))


def as_utf8(stream: IO[bytes], *, name: str) -> io.BufferedReader:
    """Return the bytes of an open file as `open_utf8` does; `name` is for messages."""
    return io.BufferedReader(_Utf8(stream, name), _BLOCK_BYTES)


def text_lines(stream: io.BufferedReader, *, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of UTF-8 bytes with their numbers from 1, without line ends.

    Raises DataError for a line of more than `LONGEST_LINE` bytes, and for a file whose only line ends are carriage
    returns, which would be one line.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise DataError(f"{name}:{number}: a line of more than {LONGEST_LINE} bytes; is this a file of lines?")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1 and b"\r" in line and not stream.peek(1):
            raise DataError(_CARRIAGE_RETURNS.format(name))
        yield number, line


def split_lines(text: str, *, name: str) -> list[str]:
    """Split a text as `text_lines` does. Raises DataError if its only line ends are carriage returns."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if "\r" in lines[0] and not any(lines[1:]):
        raise DataError(_CARRIAGE_RETURNS.format(name))
    return lines


def decoded(data: bytes) -> str:
    """Decode UTF-8. Raises NotUnicodeError with the place of the first byte that is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUnicodeError(error.start) from None


def read_text(path: Path) -> str:
    """Read a file of text whole; its line ends stay as they are. Raises DataError if it is not text, or too long."""
    with open_decompressed(path) as stream:
        return read_text_stream(stream, name=str(path))


def read_text_stream(stream: IO[bytes], *, name: str) -> str:
    """Read an open file as `read_text` does; `name` is for messages."""
    data = as_utf8(stream, name=name).read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise DataError(
            f"{name}: more than {LONGEST_TEXT} bytes, too many for a text that is read whole: split the file"
        )
    try:
        return decoded(data)
    except NotUnicodeError as error:
        raise DataError(f"{name}: {error}") from None


class _Utf8(io.RawIOBase):
    """Bytes of a file as UTF-8: converted if its byte order mark is that of another encoding."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name
        head = stream.read(_LONGEST_MARK)
        mark, encoding = next(((mark, encoding) for mark, encoding in _MARKS if head.startswith(mark)), (b"", "utf-8"))
        if not mark and _looks_wide(head):
            raise DataError(f"{name}: UTF-16 without a byte order mark; save it as UTF-8")
        self._encoding = encoding
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._ready = self._converted(head[len(mark) :])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._ready:
            self._ready = self._next_block()
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _next_block(self) -> bytes:
        """Return bytes that follow, b"" at the end only."""
        while block := self._stream.read(_BLOCK_BYTES):
            if converted := self._converted(block):
                return converted
        return self._converted(b"", final=True)

    def _converted(self, block: bytes, *, final: bool = False) -> bytes:
        if self._decoder is None:
            return block
        try:
            return self._decoder.decode(block, final).encode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self._name}: not {self._encoding.upper()}, as it begins: {error.reason}") from None


def _looks_wide(head: bytes) -> bool:
    """Return True if a file begins with two letters in UTF-16: no text in UTF-8 has NUL between characters."""
    is_nul = [byte == 0 for byte in head]
    return is_nul in ([False, True, False, True], [True, False, True, False])
