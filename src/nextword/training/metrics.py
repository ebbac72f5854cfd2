"""`Metrics`: metrics.jsonl, one JSON object for each step, validation and sample; `Curve`: one of its numbers."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from nextword.atomic_file import write_atomically

MetricsEntry = Mapping[str, object]
"""Line of metrics.jsonl: "step" and values measured at it: "loss", "validation_loss", "sample" ..."""
_SMOOTHING_WINDOW = 40
"""A smoothed curve is the mean over the last 1/40 of the run."""


class Metrics:
    """Writer of metrics.jsonl. A full disk does not stop the training: the line is dropped."""

    def __init__(self, path: Path, *, after: int) -> None:
        """Drop the lines of steps after `after`, which a resumed run repeats."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [entry for entry in read_metrics(path) if _step(entry) <= after]
        with contextlib.suppress(OSError), write_atomically(path) as out:
            out.writelines(_line(entry) for entry in kept)

    def write(self, entry: MetricsEntry) -> None:
        """Add a line; numbers that JSON does not have become null."""
        try:
            with self._path.open("ab") as out:
                out.write(_line(entry))
        except OSError:
            return


class Curve(NamedTuple):
    """One number over the steps of a run: `plot(*curve)` draws it."""

    steps: list[int]
    values: list[float]

    def smoothed(self) -> list[float]:
        """Compute a running mean over the values shortly before each."""
        width = max(1, len(self.values) // _SMOOTHING_WINDOW)
        windows = (self.values[max(0, end - width) : end] for end in range(1, len(self.values) + 1))
        return [math.fsum(window) / len(window) for window in windows]


def read_metrics(path: Path) -> list[dict[str, object]]:
    """Read the entries of a metrics file, [] if there is none, without a line that was cut off by a kill."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_bytes().splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def curve(entries: Iterable[MetricsEntry], name: str) -> Curve:
    """Select the finite values of one key, such as "loss", with their steps."""
    steps, values = [], []
    for entry in entries:
        value = entry.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            steps.append(_step(entry))
            values.append(float(value))
    return Curve(steps, values)


def _step(entry: MetricsEntry) -> int:
    step = entry["step"]
    assert isinstance(step, int)
    return step


def _line(entry: MetricsEntry) -> bytes:
    in_json = {key: value if _is_in_json(value) else None for key, value in entry.items()}
    return json.dumps(in_json, ensure_ascii=False).encode() + b"\n"


def _is_in_json(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
