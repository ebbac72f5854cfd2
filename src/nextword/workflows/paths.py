"""`Files`: the files and folders that a call reads, as its callers name them. Importing this is cheap."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nextword.errors import DataError, RequestError

if TYPE_CHECKING:
    from nextword.language_model import LanguageModel

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


def loaded_model(model: FilePath | LanguageModel) -> LanguageModel | None:
    """Return a model that is loaded, None for a name or path. Raises RequestError for anything else."""
    if isinstance(model, str | os.PathLike):
        return None
    from nextword.language_model import LanguageModel

    if not isinstance(model, LanguageModel):
        raise RequestError(f"model must be a name, a path or a LanguageModel, not {type(model).__name__}")
    return model
