"""`Cells`: what `inference` has measured so far, in a JSON file that is complete after each cell.

A run that finds its file goes on with what is missing, so that a long benchmark can be measured in pieces.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from nextword.atomic_file import write_atomically


@cache
def tree_commit() -> str:
    """Return the commit of this tree, with a mark if files differ from it; nothing without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@dataclass(frozen=True)
class Cell:
    """One side, measured once: its figures, or why there are none."""

    workload: str
    part: str
    """What was measured: a cold start, a prompt and what follows it, or many sequences."""
    side: str
    repeat: int
    figures: Mapping[str, float] = field(default_factory=dict)
    token_id: int | None = None
    """The first token after a prompt."""
    bytes_read: int | None = None
    """Bytes of weights, keys and values that a step reads; only beside the memory's limit."""
    error: str = ""
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    commit: str = field(default_factory=tree_commit)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What this is the measurement of."""
        return self.workload, self.part, self.side, self.repeat


class Cells:
    """All cells of a file. Without a path they are kept in memory alone.

    `setting` says what all of them have in common, such as processor and versions. Raises SystemExit if the file holds
    cells of another, or something else.
    """

    def __init__(self, path: Path | None, setting: Mapping[str, object]) -> None:
        self._path = path
        self._cells: dict[tuple[str, str, str, int], Cell] = {}
        self.setting = setting
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            held = json.loads(path.read_text())
            found, cells = held["setting"], [Cell(**cell) for cell in held["cells"]]
        except (ValueError, KeyError, TypeError):
            raise SystemExit(f"{path} has no cells of this benchmark: give another file with --json") from None
        differing = sorted(name for name in {*found, *self.setting} if found.get(name) != self.setting.get(name))
        if differing:
            name = differing[0]
            raise SystemExit(
                f"{path} was measured with {name} {found.get(name)}, and this run has {self.setting.get(name)}: "
                "give another file with --json"
            )
        self._cells = {cell.key: cell for cell in cells}

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def __contains__(self, key: tuple[str, str, str, int]) -> bool:
        return key in self._cells

    def add(self, cell: Cell) -> None:
        """Keep a cell, and write the file anew."""
        self._cells[cell.key] = cell
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        held = {"setting": self.setting, "cells": [dataclasses.asdict(cell) for cell in self]}
        with write_atomically(self._path) as out:
            out.write((json.dumps(held, indent=1) + "\n").encode())

    def has_failed(self, workload: str, side: str) -> bool:
        """Return True if one of a side's cells has an error: the others are not tried."""
        return any(cell.error and (cell.workload, cell.side) == (workload, side) for cell in self)

    def medians(self, workload: str) -> dict[str, dict[str, float]]:
        """Return the medians over repeats, by side and figure."""
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for cell in self:
            if cell.workload == workload:
                for figure, value in cell.figures.items():
                    values[cell.side][figure].append(value)
        return {
            side: {figure: statistics.median(of_figure) for figure, of_figure in figures.items()}
            for side, figures in values.items()
        }

    def period(self) -> dict[str, object]:
        """Describe when the cells were measured, with which commits, and how many of each there are at least."""
        cells = list(self)
        if not cells:
            return {}
        counts = Counter((cell.workload, cell.part, cell.side) for cell in cells if not cell.error)
        dates = sorted(cell.date for cell in cells)
        commits = ", ".join(dict.fromkeys(cell.commit for cell in cells))
        repeats = min(counts.values(), default=0)
        return {"from": dates[0], "to": dates[-1], "commits": commits, "repeats at least": repeats}
