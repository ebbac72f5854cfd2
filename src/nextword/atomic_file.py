"""`write_atomically`: write a file so that it is either complete or not there, even if the process is killed."""

from __future__ import annotations

import os
import uuid
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
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
