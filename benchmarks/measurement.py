"""`measure`: run the sides of a workload in turns and collect their figures, for `inference`.

Each side is a process that stays alive and rests while another is timed; repeats go round all sides (A B C A B C), so
that a slow moment of the machine falls on all. A side that fails is left out from then on, with a line that says why.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bandwidth import read_seconds
from benchmarks.inference_report import (
    FIRST_TOKEN,
    LOAD,
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
FIRST_TOKEN_PROMPT, MEMORY_PROMPT = 20, 512
SLOW_SECONDS = 8
"""Seconds beyond which a measurement is not repeated."""
CONTEXT_OF_CHOICE = 512
"""Context at which a library's faster attention is chosen."""


@dataclass
class Measurement:
    """State of a run: entries being measured and their figures. An entry that fails is removed."""

    entries: list[Entry]
    files: dict[str, Path]
    threads: int
    values: dict[Entry, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Values of each figure, one for each repeat."""
    limits: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Tokens/s, by group and figure, of a step that takes as long as reading its bytes from memory."""
    token_ids: dict[Entry, dict[tuple[int, ...], int]] = field(default_factory=lambda: defaultdict(dict))
    """The first token after each prompt."""
    bytes_read: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """Bytes of weights, keys and values that a step reads, by group and figure."""
    failures: list[str] = field(default_factory=list)
    slow: set[tuple[Entry, str]] = field(default_factory=set)
    """Measurements that are not repeated."""
    processes: dict[Entry, SideProcess] = field(default_factory=dict)

    def start(self, entry: Entry) -> SideProcess:
        """Start a process for an entry. Raises PeerError."""
        if not self.files[entry.weights].exists():
            raise PeerError(f"{self.files[entry.weights].name} could not be made")
        return SideProcess(entry.module, self.files[entry.weights], *entry.settings, threads=self.threads)

    @contextlib.contextmanager
    def measuring(self, entry: Entry, cell: str) -> Iterator[None]:
        """Drop an entry that fails inside the block; note a measurement that is too slow to be repeated."""
        started = time.perf_counter()
        try:
            yield
            if time.perf_counter() - started > SLOW_SECONDS:
                self.slow.add((entry, cell))
        except PeerError as error:
            self.entries.remove(entry)
            if entry in self.processes:
                self.processes.pop(entry).close()
            self.failures.append(f"{entry.group} {entry.title}: not measured: {error}")
            say(self.failures[-1])

    def entries_of(self, cell: str) -> list[Entry]:
        """Return the entries still measured."""
        return [entry for entry in self.entries if (entry, cell) not in self.slow]

    def fastest_settings(self) -> list[Entry]:
        """Keep, of a library that runs a file with several settings, the one that decodes fastest."""
        best: dict[tuple[str, str, str], Entry] = {}
        for entry in self.entries:
            key = (entry.library, entry.weights, entry.group)
            best[key] = max(best.get(key, entry), entry, key=self._speed)
        return list(best.values())

    def _speed(self, entry: Entry) -> float:
        return statistics.median(self.values[entry][decode_figure(CONTEXT_OF_CHOICE)])

    def read_memory(self, figure: str, *, num_sequences: int, context: int) -> None:
        """Measure the limit that memory bandwidth sets, for each group."""
        for group in {entry.group for entry in self.entries}:
            model = open_model_directory(self.files[group])
            num_bytes = weight_bytes(model) + num_sequences * context * cache_bytes(model.config, group)
            self.bytes_read[group][figure] = num_bytes
            seconds = read_seconds(num_bytes, threads=self.threads)
            if seconds is not None:
                self.limits[group][figure].append(num_sequences / seconds)


def measure(measurement: Measurement, workload: Workload, *, repeats: int) -> None:
    """Measure all of a workload, and end its processes."""
    prompts = distinct_prompts(measurement.files[workload.entries[0].weights], max(*workload.prefills, MEMORY_PROMPT))
    bring_into_page_cache(measurement)
    measure_cold(measurement, prompts, repeats=repeats)
    for length in sorted({*workload.prefills, *workload.contexts}):
        figures = [
            *([prefill_figure(length)] if length in workload.prefills else []),
            *([decode_figure(length)] if length in workload.contexts else []),
        ]
        measure_one(measurement, prompts, figures, length=length, repeats=repeats)
    for num_sequences, context in workload.batches.items():
        measure_many(measurement, prompts, num_sequences=num_sequences, context=context, repeats=repeats)
    for process in measurement.processes.values():
        process.close()


def distinct_prompts(path: Path, longest: int) -> Iterator[list[int]]:
    """Endless token ids of a text, each time from another token on, so that no cache knows how a prompt begins."""
    token_ids = open_model_directory(path).tokenizer.encode(TEXT.read_text())
    for shift in itertools.count():
        start = shift % len(token_ids)
        yield list(itertools.islice(itertools.cycle(token_ids), start, start + longest))


def bring_into_page_cache(measurement: Measurement) -> None:
    """Read every file and import every library once, so that no side is the first to read its own from the disk."""
    say("reading files and libraries")
    for path in measurement.files.values():
        for file in [path] if path.is_file() else path.glob("*"):
            file.read_bytes()
    for module in {entry.module for entry in measurement.entries}:
        with contextlib.suppress(PeerError):  # there is no such model
            SideProcess(module, Path("nothing"), "plain", threads=measurement.threads).close()


def measure_cold(measurement: Measurement, prompts: Iterator[list[int]], *, repeats: int) -> None:
    """Fresh processes: from their start to the first token after a short prompt; peak memory with a longer one.

    The first of each entry stays alive for what follows.
    """
    for repeat in range(repeats):
        say(f"cold start, {repeat + 1} of {repeats}")
        short, longer = next(prompts)[:FIRST_TOKEN_PROMPT], next(prompts)[:MEMORY_PROMPT]
        for entry in measurement.entries_of(FIRST_TOKEN):
            with measurement.measuring(entry, FIRST_TOKEN):
                process = measurement.start(entry)
                measurement.values[entry][LOAD].append(process.load_seconds)
                process.begin([short], NUM_STEPS)
                measurement.values[entry][FIRST_TOKEN].append(time.perf_counter() - process.started)
                process.begin([longer], NUM_STEPS)
                measurement.values[entry][PEAK_MEMORY].append(process.advance(NUM_STEPS)["peak_bytes"] / 1e6)
                if measurement.processes.setdefault(entry, process) is not process:
                    process.close()


def measure_one(
    measurement: Measurement, prompts: Iterator[list[int]], figures: list[str], *, length: int, repeats: int
) -> None:
    """Prefill of one prompt, and decoding after it; `figures` are those wanted of the two."""
    prefill, decode = prefill_figure(length), decode_figure(length)
    for repeat in range(repeats):
        say(f"prompt of {length:,} tokens, {repeat + 1} of {repeats}")
        prompt = next(prompts)[:length]
        for entry in measurement.entries_of(prefill):
            with measurement.measuring(entry, prefill):
                begun = measurement.processes[entry].begin([prompt], NUM_STEPS)
                step_seconds = measurement.processes[entry].advance(NUM_STEPS)["seconds"]
                measurement.token_ids[entry][tuple(prompt)] = begun["token_id"]
                if prefill in figures:
                    measurement.values[entry][prefill].append(length / begun["seconds"])
                if decode in figures:
                    measurement.values[entry][decode].append(1 / step_seconds)
        if decode in figures:
            measurement.read_memory(decode, num_sequences=1, context=length)


def measure_many(
    measurement: Measurement, prompts: Iterator[list[int]], *, num_sequences: int, context: int, repeats: int
) -> None:
    """Decoding of many sequences with prompts of their own, all in each step; each repeat goes on where one ended."""
    figure = batch_figure(num_sequences)
    say(f"{num_sequences} sequences of {context} tokens, prefill")
    chosen = [next(prompts)[:context] for _ in range(num_sequences)]
    entries = measurement.fastest_settings()
    for entry in entries:
        with measurement.measuring(entry, figure):
            measurement.processes[entry].begin(chosen, BATCH_STEPS * (repeats + 1))
    for repeat in range(repeats + 1):  # the first to warm up
        say(f"{num_sequences} sequences, {repeat} of {repeats}")
        for entry in [entry for entry in entries if entry in measurement.entries]:
            with measurement.measuring(entry, figure):
                step_seconds = measurement.processes[entry].advance(BATCH_STEPS)["seconds"]
                if repeat > 0:
                    measurement.values[entry][figure].append(num_sequences / step_seconds)
        if repeat > 0:
            measurement.read_memory(figure, num_sequences=num_sequences, context=context)


def say(line: str) -> None:
    """Print progress on standard error."""
    print(line, file=sys.stderr, flush=True)
