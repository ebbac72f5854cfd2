"""`find_changed`: files of a downloaded model whose content is no longer what was published, by their SHA-256.

A download is checked once, when it ends; opening a model reads no more of it than it needs, and checks sizes alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from nextword.checkpoints.catalogue import CATALOGUE, model_path


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_changed(model: Path) -> tuple[int, Path | None]:
    """Compare the files of a model with their published SHA-256.

    `model`: a file or folder. Returns the number of files whose checksum is known, and the first that differs; None if
    none does. Raises OSError if a file cannot be read.
    """
    known = list(_known_checksums(model))
    return len(known), next((path for path, expected in known if sha256(path) != expected), None)


def _known_checksums(model: Path) -> Iterator[tuple[Path, str]]:
    """Yield files with their checksum: of the catalogue, and of the Hub's cache, where weights lie under theirs."""
    catalogue = {model_path(entry): entry.file_sha256 for entry in CATALOGUE.values()}
    for path in sorted(model.iterdir()) if model.is_dir() else [model]:
        if path in catalogue:
            yield path, catalogue[path]
        elif path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", path.resolve().name):
            yield path, path.resolve().name
