"""`Metrics`: metrics.jsonl, one JSON object for each step, validation and sample."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from nextword.atomic_file import write_atomically


class Metrics:
    """The file, open for more lines. A disk that refuses does not stop the training: the line is lost."""

    def __init__(self, path: Path, *, after: int) -> None:
        """`after`: the step to go on from; what stands for later ones was undone when the run was stopped."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [entry for entry in read_metrics(path) if _step(entry) <= after]
        with contextlib.suppress(OSError), write_atomically(path) as out:
            out.writelines(_line(entry) for entry in kept)

    def write(self, entry: Mapping[str, object]) -> None:
        """Add a line; numbers that JSON does not have become null."""
        try:
            with self._path.open("ab") as out:
                out.write(_line(entry))
        except OSError:
            return


def read_metrics(path: Path) -> list[dict[str, object]]:
    """The entries of a metrics file, [] if there is none; a line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_bytes().splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def _step(entry: Mapping[str, object]) -> int:
    step = entry["step"]
    assert isinstance(step, int)
    return step


def _line(entry: Mapping[str, object]) -> bytes:
    in_json = {key: value if _is_in_json(value) else None for key, value in entry.items()}
    return json.dumps(in_json, ensure_ascii=False).encode() + b"\n"


def _is_in_json(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
