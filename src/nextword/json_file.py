"""Read small JSON files, such as config.json, with a limit on size and errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nextword.errors import CheckpointError
from nextword.input_file import read_bounded

_LARGEST_BYTES = 100_000_000
"""Limit far above the index of the largest sharded model, so that a wrong file is not read into memory whole."""


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises CheckpointError if it is missing, too large, or no JSON object."""
    content = read_bounded(path, most=_LARGEST_BYTES, kind="a settings file")
    return parse_json_object(content, source=str(path))


def parse_json_object(content: bytes, *, source: str) -> dict[str, Any]:
    """Parse a JSON object from UTF-8 text. Raises CheckpointError, naming `source`, for any other content."""
    try:
        value = json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(f"{source}: not valid JSON ({reason}); fetch the file again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: holds {type(value).__name__}; expected a JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise ValueError(f"{name[:80]!r} appears twice")
        unique[name] = value
    return unique
