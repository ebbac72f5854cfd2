"""`Files`: the files and folders that a call reads, as its callers name them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from nextword.errors import DataError

FilePath: TypeAlias = str | Path
"""A file or folder."""
Files: TypeAlias = str | Path | Sequence[str | Path]
"""One file or folder, or several."""


def list_files(files: Files) -> list[str]:
    """Return the names of the files. Raises DataError if there are none."""
    names = [os.fspath(file) for file in ([files] if isinstance(files, str | os.PathLike) else files)]
    if not names:
        raise DataError("no files: name files or folders with text")
    return names
