"""`KeptRun`: a measurement on the disk, so that the same command goes on where it was interrupted.

A folder holds what is known so far and a line for each document that has ended. It is written every few seconds, and
goes when the run is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nextword.atomic_file import write_atomically
from nextword.evaluation.measurement import Measurement
from nextword.evaluation.perplexity import DocumentScore

_SECONDS_BETWEEN = 10.0


class KeptRun:
    """What has been measured of one run; after a block that was not interrupted, nothing is kept.

    Raises OSError where the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        """Take up what is in the folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._state = folder / "state.json"
        self.begun, position = self._read()
        self._lines = (folder / "documents.jsonl").open("r+b" if position else "w+b")
        self._lines.truncate(position)
        self._lines.seek(position)
        self._latest: tuple[Measurement, int] | None = None
        self._saved_at = time.monotonic()

    def on_document(self, score: DocumentScore) -> None:
        """Write a line."""
        self._lines.write(json.dumps({"place": score.place, **asdict(score.sums)}).encode() + b"\n")

    def on_progress(self, measurement: Measurement) -> None:
        """Remember what is known; now and then on the disk."""
        self._latest = measurement, self._lines.tell()
        if time.monotonic() > self._saved_at + _SECONDS_BETWEEN:
            self.save()

    def save(self) -> None:
        """Write what is known."""
        if self._latest is None:
            return
        measurement, position = self._latest
        self._lines.flush()
        with write_atomically(self._state) as out:
            out.write(json.dumps({"position": position, "measurement": measurement.to_json()}).encode())
        self._saved_at = time.monotonic()

    def documents(self) -> Iterator[dict[str, Any]]:
        """A dict for each document that has ended: its place, and the fields of its sums."""
        self._lines.flush()
        with (self._folder / "documents.jsonl").open("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def __enter__(self) -> KeptRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self.save()
        self._lines.close()
        if kind is not KeyboardInterrupt:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> tuple[Measurement | None, int]:
        """What is known, and how many bytes of lines belong to it; nothing where that is damaged or older than we."""
        try:
            state = json.loads(self._state.read_bytes())
            measurement = Measurement.from_json(state["measurement"])
            lines = (self._folder / "documents.jsonl").stat().st_size
            return (measurement, state["position"]) if lines >= state["position"] else (None, 0)
        except (OSError, ValueError, KeyError, TypeError):
            return None, 0


def fingerprint(paths: Iterable[Path], settings: object) -> str:
    """Of files, taken to be the same if name, size and time are, and of settings."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([stats, settings], default=str).encode()).hexdigest()[:32]
