"""`check_file` and `read_bounded`: kind and size of a file, checked before any of it is read.

A pipe would be waited for, a device read for ever, and a wrong file could fill the memory.
"""

from __future__ import annotations

import stat
from pathlib import Path

from nextword.errors import CheckpointError, os_reason


def check_file(path: Path, *, least: int = 0, most: int | None = None, kind: str) -> int:
    """Return the size of a regular file in bytes; symbolic links are followed.

    `kind`: what the file should be, for messages. Raises CheckpointError if it cannot be found, is no regular file, or
    has fewer than `least` or more than `most` bytes.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {os_reason(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: no regular file; expected {kind}")
    if status.st_size < least:
        raise CheckpointError(f"{path}: {status.st_size} bytes; {kind} has at least {least}. Fetch it again")
    if most is not None and status.st_size > most:
        raise CheckpointError(f"{path}: {status.st_size} bytes; {kind} has at most {most}")
    return status.st_size


def read_bounded(path: Path, *, most: int, kind: str) -> bytes:
    """Return the content of a regular file of at most `most` bytes. Raises CheckpointError as `check_file`."""
    check_file(path, most=most, kind=kind)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {os_reason(error)}") from None
