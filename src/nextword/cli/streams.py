"""`open_streams`: standard input, output and error as the program needs them, also if one is closed or a disk full.

Input that cannot be read and output that cannot be written are errors of one line; messages that cannot be written are
lost without further harm.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO, cast

from nextword.errors import RequestError, os_reason


def open_streams() -> None:
    """Replace the standard streams: UTF-8 in from any locale, "?" out for characters that a terminal cannot show."""
    stdin, stdout, stderr = _raw(0, sys.stdin), _raw(1, sys.stdout), _raw(2, sys.stderr)  # in the order of numbers
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_Input(stdin)), "utf-8")
    sys.stdout = _writer(_Output(stdout), sys.stdout, is_live=stdout.isatty())
    sys.stderr = _writer(_Messages(stderr), sys.stderr, is_live=True)


def discard_output() -> None:
    """Discard buffered output that cannot be written, else Python reports it when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


class _Stream(io.RawIOBase):
    """Raw stream in front of another."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()


class _Input(_Stream):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        try:
            return self._raw.readinto(buffer)
        except OSError as error:
            raise RequestError(f"standard input {_reason(error, 'read')}; name a file, or pipe a text in") from None


class _Output(_Stream):
    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int | None:  # type: ignore[override]
        try:
            return self._raw.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise RequestError(f"standard output {_reason(error, 'written')}: the result is incomplete") from None


class _Messages(_Stream):
    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int | None:  # type: ignore[override]
        try:
            return self._raw.write(data)
        except OSError:
            return len(data)


def _raw(number: int, stream: TextIO | None) -> io.RawIOBase:
    """Return the raw stream of a number; for a closed one a device that refuses, so that no file gets its number."""
    if stream is not None:
        return cast("io.RawIOBase", getattr(stream.buffer, "raw", stream.buffer))  # no buffer if Python was told so
    opened = os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)  # takes the lowest number that is free
    return io.FileIO(opened, "w" if number else "r", closefd=False)


def _writer(raw: _Stream, stream: TextIO | None, *, is_live: bool) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="replace",
        line_buffering=is_live,
        write_through=isinstance(stream, io.TextIOWrapper) and stream.write_through,
    )


def _reason(error: OSError, done: str) -> str:
    return "is closed" if error.errno == errno.EBADF else f"cannot be {done}: {os_reason(error)}"
