"""`Files`: the files and folders that a call reads, as its callers name them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

from nextword.errors import DataError, RequestError

FilePath: TypeAlias = str | os.PathLike[str]
"""A file or folder."""
Files: TypeAlias = FilePath | Sequence[FilePath]
"""One file or folder, or several."""


def list_files(files: Files) -> list[str]:
    """Return the names of the files. Raises DataError if there are none, RequestError for what is no path."""
    listed = [files] if isinstance(files, str | os.PathLike) else files
    if not isinstance(listed, Sequence):
        raise RequestError(f"files must be a path or a sequence of paths, not {type(files).__name__}")
    for file in listed:
        if not isinstance(file, str | os.PathLike):
            raise RequestError(f"a file must be named by a path, not by {type(file).__name__}")
    if not listed:
        raise DataError("no files: name files or folders with text")
    return [os.fspath(file) for file in listed]
