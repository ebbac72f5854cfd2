"""Reading the small JSON files beside the weights, with a limit on size and errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nextword.errors import CheckpointError

_LARGEST_BYTES = 100_000_000
"""Far above the index of the largest sharded model; a damaged or foreign file is not read into memory whole."""


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError if it is missing, too large, or holds anything else."""
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise CheckpointError(f"{path}: {size} bytes; a settings file has at most {_LARGEST_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_json_object(content, source=str(path))


def parse_json_object(content: bytes, *, source: str) -> dict[str, Any]:
    """The object that JSON text holds. Raises CheckpointError, naming `source`, if it is no such text."""
    try:
        value = json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(f"{source}: not valid JSON ({reason}); fetch the file again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: holds {type(value).__name__} where a JSON object belongs")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} appears twice")
    return unique
