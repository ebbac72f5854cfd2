"""`write_atomically`: write a file so that it is either complete or not there, even if the process is killed.

`partial_folder` does the same for a folder. What a killed process left beside a target goes when the target is next
written; a lock, which the system releases when a process ends, tells it from what another process is writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing; flush it to disk and rename it to `path` if the block ends without error.

    Raises OSError if writing fails, or if what lies at `path` is no regular file (a device must not be replaced).
    """
    target = path.resolve()  # through a symbolic link, which is kept
    if target.exists() and not target.is_file():
        raise FileExistsError(None, "no regular file")
    remove_stale(target)
    temporary = _temporary(target)
    try:
        with temporary.open("wb") as out:
            _mark_as_ours(out.fileno())
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path`, to be filled and renamed in the block; what remains of it is removed.

    Raises OSError if it cannot be made.
    """
    remove_stale(path)
    folder = _temporary(path)
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _mark_as_ours(descriptor)
        yield folder
    finally:
        os.close(descriptor)
        import shutil  # imports compressors that generation does not need

        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(target: Path) -> None:
    """Remove what processes that were killed while they wrote `target` left beside it."""
    named = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.(partial|replaced)")
    for path in target.parent.iterdir() if target.parent.is_dir() else ():
        if named.fullmatch(path.name):
            with contextlib.suppress(OSError):  # of another user, or just removed by another process
                _remove_unlocked(path)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.urandom(4).hex()}.partial")


def _mark_as_ours(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: then nothing of others is removed there either
        _lock(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file or folder until it is closed. Raises OSError if another process has locked it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        if path.is_dir():
            import shutil

            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
