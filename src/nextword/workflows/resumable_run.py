"""`ResumableRun`: the state of a perplexity run on disk, from which the same command resumes after an interruption.

Its folder holds the accumulator's state and a journal, one line for each document that has ended. The state is written
every few seconds; the folder is deleted when the run is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from nextword.atomic_file import write_atomically
from nextword.evaluation.perplexity import DocumentScore
from nextword.evaluation.perplexity_accumulator import PerplexityAccumulator, Sums

_SECONDS_BETWEEN = 10.0


class Journal:
    """Places and sums of documents, on disk, however many; can be iterated repeatedly."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._lines = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._lines.close)  # which deletes it
        shutil.copyfileobj(lines, self._lines)

    def __iter__(self) -> Iterator[tuple[str, Sums]]:
        self._lines.seek(0)
        for line in self._lines:
            fields: dict[str, Any] = json.loads(line)
            yield fields.pop("place"), Sums(**fields)


class ResumableRun:
    """Context manager of one run: saves the state on an interruption, else deletes the folder at its end.

    Raises OSError if writing fails.
    """

    def __init__(self, folder: Path) -> None:
        """Load the state in `folder`, which is created if it does not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._state = folder / "state.json"
        self.resumed, position = self._read()
        self._lines = (folder / "documents.jsonl").open("r+b" if position else "w+b")
        self._lines.truncate(position)
        self._lines.seek(position)
        self._latest: tuple[PerplexityAccumulator, int] | None = None
        self._saved_at = time.monotonic()

    def on_document(self, score: DocumentScore) -> None:
        """Append the document to the journal."""
        self._lines.write(json.dumps({"place": score.place, **asdict(score.sums)}).encode() + b"\n")

    def on_progress(self, accumulator: PerplexityAccumulator) -> None:
        """Remember the state; save it every few seconds."""
        self._latest = accumulator, self._lines.tell()
        if time.monotonic() > self._saved_at + _SECONDS_BETWEEN:
            self.save()

    def save(self) -> None:
        """Write the latest state to disk."""
        if self._latest is None:
            return
        accumulator, position = self._latest
        self._lines.flush()
        with write_atomically(self._state) as out:
            out.write(json.dumps({"position": position, "measurement": accumulator.to_json()}).encode())
        self._saved_at = time.monotonic()

    def journal(self) -> Journal:
        """Return the documents that have ended, in a file that outlives the run."""
        self._lines.flush()
        self._lines.seek(0)
        return Journal(self._lines)

    def __enter__(self) -> ResumableRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self.save()
        self._lines.close()
        if kind is not KeyboardInterrupt:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> tuple[PerplexityAccumulator | None, int]:
        """Return the saved state and the length of its journal in bytes; (None, 0) for a damaged or older state."""
        try:
            state = json.loads(self._state.read_bytes())
            accumulator = PerplexityAccumulator.from_json(state["measurement"])
            lines = (self._folder / "documents.jsonl").stat().st_size
            return (accumulator, state["position"]) if lines >= state["position"] else (None, 0)
        except (OSError, ValueError, KeyError, TypeError):
            return None, 0


def fingerprint(paths: Iterable[Path], settings: object) -> str:
    """Return a name for files (by path, size and time of change) and settings: another for any change of them."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([stats, settings], default=str).encode()).hexdigest()[:32]
