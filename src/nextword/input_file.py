"""`check_file`, `read_bounded`, `map_file`: kind and size of a file, checked before any of it is read.

A pipe would be waited for, a device read for ever, and a wrong file could fill the memory.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from nextword.errors import CheckpointError, os_reason
from nextword.native import native


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


class FileMapping(mmap.mmap):
    """A file's bytes in memory, read from the disk when they are used; made by `map_file`.

    Bytes that the file loses meanwhile, since another program truncates it or its disk fails, read as zeros, and
    `require_unchanged` tells; without the C++ core such a read ends the process.
    """

    path: Path
    status: os.stat_result
    """Status of the file when it was mapped."""
    guard: object
    """Guard of the C++ core; None without it."""

    def require_unchanged(self) -> None:
        """Raise CheckpointError if bytes that were read may not be those of the file that was mapped.

        A file that has been deleted, or replaced by another one, stays mapped as it was.
        """
        try:
            now, before = os.stat(self.path), self.status
        except OSError:
            now = before = self.status
        is_same = (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)
        is_changed = is_same and (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
        if is_changed or getattr(self.guard, "has_lost_bytes", False):
            raise CheckpointError(
                f"{self.path}: changed while it was read, by another program, or its disk fails; load it again when it "
                "is complete"
            )


def map_file(path: Path, *, least: int, kind: str) -> FileMapping:
    """Map a regular file of at least `least` bytes to be read. Raises CheckpointError as `check_file`."""
    check_file(path, least=least, kind=kind)
    try:
        with path.open("rb") as file:
            mapping = FileMapping(file.fileno(), 0, access=mmap.ACCESS_READ)
            mapping.path, mapping.status = path, os.fstat(file.fileno())
    except (OSError, ValueError) as error:  # ValueError: it has become empty
        reason = os_reason(error) if isinstance(error, OSError) else "it is empty"
        raise CheckpointError(f"{path}: cannot be read: {reason}") from None
    mapping.guard = None if native is None else native.MappingGuard(mapping)
    return mapping
