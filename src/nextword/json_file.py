"""Read small JSON files, such as config.json, with a limit on size and errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nextword.errors import CheckpointError, os_reason

_LARGEST_BYTES = 100_000_000
"""Limit far above the index of the largest sharded model, so that a wrong file is not read into memory whole."""


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises CheckpointError if it is missing, too large, or no JSON object."""
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise CheckpointError(f"{path}: {size} bytes; a settings file has at most {_LARGEST_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {os_reason(error)}") from None
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
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} appears twice")
    return unique
