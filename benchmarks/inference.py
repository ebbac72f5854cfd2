"""How fast are prefill and decoding? Ours beside llama.cpp, its fork ik_llama.cpp, OpenVINO GenAI, CTranslate2 and
transformers, and beside what the memory allows.

    python -m benchmarks.inference [--model NAME] [--threads N] [--repeats 3] [--only nextword,llama.cpp]
                                   [--json FILE] [--plot FILE]

Each side is a process that stays alive and rests while another is timed; repeats go round all sides (A B C A B C), so
that a slow moment of the machine falls on all. All get the same weights, token ids and number of threads, and write
greedily. Figures are medians; what takes a side longer than eight seconds is measured once. Many sequences at once are
left to the attention that was the faster one of its library. A side that cannot run gives a line that says why.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import tyro

from benchmarks.bandwidth import read_seconds
from benchmarks.bar import print_bars
from benchmarks.bars import bars
from benchmarks.inference_report import (
    BATCHES,
    CONTEXTS,
    FIRST_TOKEN,
    PEAK_MEMORY,
    PREFILLS,
    SAME_TOKEN,
    Report,
    batch_figure,
    decode_figure,
    draw,
    prefill_figure,
    print_tables,
    write_json,
)
from benchmarks.model_files import cache_bytes, model_files, weight_bytes
from benchmarks.peers.process import PeerError, SideProcess
from benchmarks.sides import ENTRIES, Entry
from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.open_directory import open_model_directory
from nextword.inference.native_backend import num_cores

ROOT = Path(__file__).parents[1]
TEXT = ROOT / "examples" / "article.txt"
JUDGE = "transformers"
PACKAGES = (
    "llama-cpp-python",
    "ik-llama-cpp-python",
    "openvino-genai",
    "ctranslate2",
    "transformers",
    "torch",
    "numpy",
)


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


def main(
    model: str = "smollm2-135m",
    threads: int = num_cores(),
    repeats: int = 3,
    only: str = "",
    json: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Time prefill and decoding, ours and theirs.

    Args:
        model: a catalogue name or a GGUF file, in Q4_1.
        threads: of every side.
        repeats: medians are taken over so many.
        only: libraries, separated by commas, by the beginning of their names; all if empty.
        json: also write the figures here.
        plot: also draw them here, in the format of the name's ending.
    """
    started, load_before = time.time(), os.getloadavg()
    entries = [entry for entry in ENTRIES if entry.library.startswith(tuple(only.split(",")))]
    if not entries:
        sys.exit(f"--only {only}: none of {', '.join(dict.fromkeys(entry.library for entry in ENTRIES))}")
    measurement = Measurement(entries, model_files(resolve(model)), threads)
    prompts = distinct_prompts(measurement.files["Q4_1"])
    bring_into_page_cache(measurement)
    measure_cold(measurement, prompts, repeats=repeats)
    for length in sorted({*PREFILLS, *CONTEXTS}):
        measure_one(measurement, prompts, length=length, repeats=repeats)
    for num_sequences, context in BATCHES.items():
        measure_many(measurement, prompts, num_sequences=num_sequences, context=context, repeats=repeats)
    for process in measurement.processes.values():
        process.close()
    run = {
        "threads": threads,
        "repeats": repeats,
        "minutes": round((time.time() - started) / 60, 1),
        "load average before": load_before,
        "load average after": os.getloadavg(),
    }
    report = report_of(measurement, {**machine(), **run})
    print_tables(report)
    print_bars(bars(report))
    if json is not None:
        write_json(json, report)
    if plot is not None:
        draw(plot, report)


def distinct_prompts(path: Path) -> Iterator[list[int]]:
    """Endless token ids of a text, each time from another token on, so that no cache knows how a prompt begins."""
    token_ids = open_model_directory(path).tokenizer.encode(TEXT.read_text())
    longest = max(*PREFILLS, *CONTEXTS)
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
                process.begin([short], NUM_STEPS)
                measurement.values[entry][FIRST_TOKEN].append(time.perf_counter() - process.started)
                process.begin([longer], NUM_STEPS)
                measurement.values[entry][PEAK_MEMORY].append(process.advance(NUM_STEPS)["peak_bytes"] / 1e6)
                if measurement.processes.setdefault(entry, process) is not process:
                    process.close()


def measure_one(measurement: Measurement, prompts: Iterator[list[int]], *, length: int, repeats: int) -> None:
    """Prefill of one prompt, and decoding after it."""
    prefill, decode = prefill_figure(length), decode_figure(length)
    for repeat in range(repeats):
        say(f"prompt of {length:,} tokens, {repeat + 1} of {repeats}")
        prompt = next(prompts)[:length]
        for entry in measurement.entries_of(prefill):
            with measurement.measuring(entry, prefill):
                begun = measurement.processes[entry].begin([prompt], NUM_STEPS)
                step_seconds = measurement.processes[entry].advance(NUM_STEPS)["seconds"]
                measurement.token_ids[entry][tuple(prompt)] = begun["token_id"]
                if length in PREFILLS:
                    measurement.values[entry][prefill].append(length / begun["seconds"])
                if length in CONTEXTS:
                    measurement.values[entry][decode].append(1 / step_seconds)
        if length in CONTEXTS:
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


def report_of(measurement: Measurement, run: dict[str, object]) -> Report:
    """Return medians, and how often the first token is that of transformers."""
    medians: dict[str, dict[str, dict[str, float]]] = {group: {} for group in dict.fromkeys(e.group for e in ENTRIES)}
    judge = next((entry for entry in measurement.entries if entry.library == JUDGE), None)
    for entry in measurement.entries:
        figures = {name: statistics.median(values) for name, values in measurement.values[entry].items()}
        if judge is not None:
            expected, found = measurement.token_ids[judge], measurement.token_ids[entry]
            common = [prompt for prompt in found if prompt in expected]
            figures[SAME_TOKEN] = statistics.mean(found[prompt] == expected[prompt] for prompt in common)
        medians[entry.group][entry.title] = figures
    limits = {
        group: {name: statistics.median(values) for name, values in of_group.items()}
        for group, of_group in measurement.limits.items()
    }
    return Report(
        run=run, medians=medians, limits=limits, bytes_read=dict(measurement.bytes_read), failures=measurement.failures
    )


def machine() -> dict[str, object]:
    """Describe machine, versions and settings."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"processor": processor(), "python": platform.python_version(), **versions}


def processor() -> str:
    """Return the processor's name, which `platform` leaves out on Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def say(line: str) -> None:
    """Print progress on standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    tyro.cli(main)
