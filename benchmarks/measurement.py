"""`measure`: the sides of a workload in turns, a cell of the table at a time, for `inference`.

Each side is a process that stays alive and rests while another is timed; repeats go through all sides, there
and back (A B C C B A), so that a slow moment of the machine falls on all, and what one leaves in memory is not always
there for the same other. A side that fails is left out from then on, with a line that says why.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bandwidth import read_seconds
from benchmarks.cells import Cell, Cells
from benchmarks.inference_report import (
    FIRST_TOKEN,
    LOAD,
    MEMORY,
    PEAK_MEMORY,
    batch_figure,
    decode_figure,
    prefill_figure,
)
from benchmarks.model_files import cache_bytes, weight_bytes
from benchmarks.peers.process import PeerError, SideProcess
from benchmarks.sides import Entry, Workload
from nextword.checkpoints.open_directory import open_model_directory

TEXT = Path(__file__).parents[1] / "examples" / "article.txt"
NUM_STEPS, BATCH_STEPS = 24, 8
COLD_START, FIRST_TOKEN_PROMPT, MEMORY_PROMPT = "cold start", 20, 512
WARM_UP_PROMPT = 128
CONTEXT_OF_CHOICE = 512
"""Context at which a library's faster attention is chosen."""
PROMPTS_OF_A_PART = 128
"""Prompts of a part begin at so many tokens of the text at most, so that no two parts have one in common."""


@dataclass(frozen=True)
class Part:
    """What is measured of one side after the other."""

    title: str
    number: int
    """Place among the workload's parts."""
    num_sequences: int
    length: int
    """Tokens of each prompt."""
    decode: str | None
    """Name of the figure, None if only the prompt is of interest."""


def parts_of(workload: Workload) -> list[Part]:
    """Return a workload's parts in the order in which they are measured."""
    lengths = sorted({*workload.prefills, *workload.contexts})
    ones = [(f"prompt of {n}", 1, n, decode_figure(n) if n in workload.contexts else None) for n in lengths]
    many = [(f"{n} sequences of {length}", n, length, batch_figure(n)) for n, length in workload.batches.items()]
    parts = [(COLD_START, 1, FIRST_TOKEN_PROMPT, None), *ones, *many]
    return [
        Part(title, number, num_sequences, length, decode)
        for number, (title, num_sequences, length, decode) in enumerate(parts)
    ]


class Bench:
    """The sides of one workload, each a process from its first cell on."""

    def __init__(self, name: str, workload: Workload, files: dict[str, Path], *, threads: int, repeats: int) -> None:
        self.name = name
        self.workload = workload
        self._files = files
        self._threads = threads
        self._repeats = repeats
        self._processes: dict[Entry, SideProcess] = {}
        self._batches: dict[Entry, Part] = {}
        self._text = open_model_directory(files[name]).tokenizer.encode(TEXT.read_text())

    def measure(self, entry: Entry, part: Part, repeat: int) -> Cell:
        """Measure a cell; one with an error if the side fails."""
        cell = Cell(self.name, part.title, entry.title, repeat)
        try:
            if part.title == COLD_START:
                return replace(cell, figures=self._measure_cold(entry, part, repeat))
            return self._measure_warm(cell, entry, part)
        except PeerError as error:
            say(f"{self.name} {entry.title}: {error}")
            return replace(cell, error=str(error))

    def measure_memory(self, part: Part, repeat: int) -> Cell:
        """Measure the tokens/s of a step that takes as long as reading its bytes from memory."""
        assert part.decode is not None
        model = open_model_directory(self._files[self.name])
        of_cache = cache_bytes(model.config, self.name)
        num_bytes = weight_bytes(model) + part.num_sequences * part.length * of_cache
        seconds = read_seconds(num_bytes, threads=self._threads)
        figures = {} if seconds is None else {part.decode: part.num_sequences / seconds}
        return Cell(self.name, part.title, MEMORY, repeat, figures, bytes_read=num_bytes)

    def bring_into_page_cache(self) -> None:
        """Read every file and import every library once, so that no side is the first to read its own from the disk."""
        say(f"{self.name}: reading files and libraries")
        for path in {self._files[entry.weights] for entry in self.workload.entries}:
            for file in [path] if path.is_file() else path.glob("*"):
                file.read_bytes()
        for module in {entry.module for entry in self.workload.entries}:
            with contextlib.suppress(PeerError):  # there is no such model
                SideProcess(module, Path("nothing"), "plain", threads=self._threads).close()

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.close()

    def _measure_cold(self, entry: Entry, part: Part, repeat: int) -> dict[str, float]:
        """A fresh process: from its start to the first token after a short prompt; peak memory with a longer one."""
        process = self._start(entry)
        process.begin([self._prompt(part, repeat, part.length)], NUM_STEPS)
        first_token = time.perf_counter() - process.started
        process.begin([self._prompt(part, self._repeats + repeat, MEMORY_PROMPT)], NUM_STEPS)
        peak_bytes = process.advance(NUM_STEPS)["peak_bytes"]
        process.close()
        return {LOAD: process.load_seconds, FIRST_TOKEN: first_token, PEAK_MEMORY: peak_bytes / 1e6}

    def _measure_warm(self, cell: Cell, entry: Entry, part: Part) -> Cell:
        if entry not in self._processes:
            self._processes[entry] = self._start(entry)
            self._processes[entry].begin([self._text[-WARM_UP_PROMPT:]], NUM_STEPS)
            self._processes[entry].advance(NUM_STEPS)
        process = self._processes[entry]
        if part.num_sequences > 1:
            return replace(cell, figures=self._measure_many(process, entry, part, cell.repeat))
        begun = process.begin([self._prompt(part, cell.repeat, part.length)], NUM_STEPS)
        figures = {}
        if part.length in self.workload.prefills:
            figures[prefill_figure(part.length)] = part.length / begun["seconds"]
        if part.decode is not None:
            figures[part.decode] = 1 / process.advance(NUM_STEPS)["seconds"]
        return replace(cell, figures=figures, token_id=begun["token_id"])

    def _measure_many(self, process: SideProcess, entry: Entry, part: Part, repeat: int) -> dict[str, float]:
        """Decoding of many sequences, all in each step: a warm-up, then each repeat goes on where one ended."""
        assert part.decode is not None
        if self._batches.get(entry) != part:
            prompts = [self._prompt(part, index, part.length) for index in range(part.num_sequences)]
            process.begin(prompts, BATCH_STEPS * (self._repeats + 1))
            process.advance(BATCH_STEPS * (repeat + 1))
            self._batches[entry] = part
        return {part.decode: part.num_sequences / process.advance(BATCH_STEPS)["seconds"]}

    def _start(self, entry: Entry) -> SideProcess:
        path = self._files[entry.weights]
        if not path.exists():
            raise PeerError(f"{path.name} could not be made")
        return SideProcess(entry.module, path, *entry.settings, threads=self._threads)

    def _prompt(self, part: Part, index: int, length: int) -> list[int]:
        """Return tokens of the text from another one on for each part and index: no cache knows how a prompt begins."""
        start = (part.number * PROMPTS_OF_A_PART + index) % len(self._text)
        return list(itertools.islice(itertools.cycle(self._text), start, start + length))


def measure(
    bench: Bench,
    cells: Cells,
    *,
    repeats: int,
    only: tuple[str, ...] = ("",),
    parts: tuple[str, ...] = ("",),
    until: float = math.inf,
) -> None:
    """Measure the cells of a workload that are missing, and end its processes; begin none after the time `until`.

    `only`, `parts`: beginnings of the libraries' names, and of the parts' titles.
    """
    with contextlib.closing(bench):
        for part in parts_of(bench.workload):
            if part.title.startswith(parts):
                for repeat in range(repeats):
                    _measure_round(bench, cells, part, repeat, only=only, until=until)


def _measure_round(bench: Bench, cells: Cells, part: Part, repeat: int, *, only: tuple[str, ...], until: float) -> None:
    """Measure a part of each side that has not been, and of the memory."""
    entries = [entry for entry in entries_of(bench, cells, part) if entry.library.startswith(only)]
    missing = [entry for entry in entries if (bench.name, part.title, entry.title, repeat) not in cells]
    if part.title == COLD_START and missing and time.monotonic() < until:
        bench.bring_into_page_cache()
    for entry in missing if repeat % 2 == 0 else reversed(missing):
        if time.monotonic() < until and not cells.has_failed(bench.name, entry.title):
            say(f"{bench.name}, {part.title}, repeat {repeat + 1}: {entry.title}")
            cells.add(bench.measure(entry, part, repeat))
    is_missing = (bench.name, part.title, MEMORY, repeat) not in cells
    if part.decode is not None and is_missing and time.monotonic() < until:
        cells.add(bench.measure_memory(part, repeat))


def entries_of(bench: Bench, cells: Cells, part: Part) -> Sequence[Entry]:
    """Return all entries; for many sequences, of a library with several settings, the one that decodes fastest."""
    entries = bench.workload.entries
    if part.num_sequences == 1:
        return entries
    medians = cells.medians(bench.name)
    speeds = {entry: medians.get(entry.title, {}).get(decode_figure(CONTEXT_OF_CHOICE), 0) for entry in entries}
    best: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = entry.library, entry.weights
        best[key] = max(best.get(key, entry), entry, key=speeds.__getitem__)
    return list(best.values())


def say(line: str) -> None:
    """Print progress on standard error."""
    print(line, file=sys.stderr, flush=True)
