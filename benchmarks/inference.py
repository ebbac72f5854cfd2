"""How fast are prefill and decoding? Ours beside llama.cpp, its fork ik_llama.cpp, OpenVINO GenAI, CTranslate2 and
transformers, and beside what the memory allows.

    python -m benchmarks.inference [--model NAME] [--threads N] [--repeats 5] [--quick] [--only nextword,llama.cpp]
                                   [--json FILE] [--plot FILE]

Each side is a process that stays alive and rests while another is timed; repeats go round all sides (A B C A B C), so
that a slow moment of the machine falls on all. All get the same weights, token ids and number of threads, and write
greedily. Figures are medians. A side that cannot run gives a line that says why.
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
from benchmarks.inference_report import (
    FIRST_TOKEN,
    PEAK_MEMORY,
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


@dataclass(frozen=True)
class Entry:
    """One library with one file: a line of the table."""

    group: str
    """Entries of a group are compared with its first, ours. Its name is the weights by which it reads memory."""
    library: str
    module: str
    """In benchmarks/peers."""
    weights: str
    """A key of `model_files`."""
    settings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What the table calls it."""
        details = (*self.settings, *((self.weights,) if self.weights != self.group else ()))
        return f"{self.library} ({', '.join(details)})" if details else self.library


def _of_gguf(weights: str) -> list[Entry]:
    """Those who read GGUF files; of llama.cpp now one attention, now the other is faster."""
    return [
        Entry(weights, "nextword", "nextword_backend", weights),
        Entry(weights, "nextword Engine", "nextword_engine", weights),
        Entry(weights, "llama.cpp", "llama_cpp", weights, ("plain",)),
        Entry(weights, "llama.cpp", "llama_cpp", weights, ("flash",)),
        Entry(weights, "ik_llama.cpp", "ik_llama_cpp", weights, ("plain",)),
        Entry(weights, "ik_llama.cpp", "ik_llama_cpp", weights, ("flash",)),
        Entry(weights, "OpenVINO GenAI", "openvino_pipeline", weights),
    ]


ENTRIES = (
    *_of_gguf("Q4_1"),
    *_of_gguf("Q4_0"),
    *_of_gguf("Q8_0"),
    Entry("Q8_0", "CTranslate2", "ctranslate2_generator", "int8"),
    Entry("bf16", "nextword", "nextword_backend", "bf16"),
    Entry("bf16", "transformers", "transformers_model", "bf16"),
)

PREFILLS = (32, 512, 2048)
CONTEXTS = (128, 512, 2048)
NUM_STEPS = 32
BATCHES = (4, 16, 64)
BATCH_CONTEXT = 128
BATCH_STEPS = 8
FIRST_TOKEN_PROMPT, MEMORY_PROMPT = 32, 512
MAX_COLD_REPEATS = 3


@dataclass
class Measurement:
    """What is being measured, and all that is known so far. An entry that fails leaves it."""

    entries: list[Entry]
    files: dict[str, Path]
    threads: int
    values: dict[Entry, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Of each figure, one for each repeat."""
    limits: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """By group and figure, the tokens/s of a step that takes as long as reading what it needs."""
    token_ids: dict[Entry, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The first token after each prompt."""
    failures: list[str] = field(default_factory=list)
    processes: dict[Entry, SideProcess] = field(default_factory=dict)

    def start(self, entry: Entry) -> SideProcess:
        """A process for an entry. Raises PeerError."""
        if not self.files[entry.weights].exists():
            raise PeerError(f"{self.files[entry.weights].name} could not be made")
        return SideProcess(entry.module, self.files[entry.weights], *entry.settings, threads=self.threads)

    @contextlib.contextmanager
    def dropping(self, entry: Entry) -> Iterator[None]:
        """Go on without an entry that fails in here."""
        try:
            yield
        except PeerError as error:
            self.entries.remove(entry)
            self.failures.append(f"{entry.group} {entry.title}: not measured: {error}")
            say(self.failures[-1])

    def read_memory(self, figure: str, *, num_sequences: int, context: int) -> None:
        """What memory allows now, for each group."""
        for group in {entry.group for entry in self.entries}:
            model = open_model_directory(self.files[group])
            num_bytes = weight_bytes(model) + num_sequences * context * cache_bytes(model.config)
            seconds = read_seconds(num_bytes, threads=self.threads)
            if seconds is not None:
                self.limits[group][figure].append(num_sequences / seconds)


def main(
    model: str = "smollm2-135m",
    threads: int = num_cores(),
    repeats: int = 5,
    quick: bool = False,
    only: str = "",
    json: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Time prefill and decoding, ours and theirs.

    Args:
        model: a catalogue name or a GGUF file, in Q4_1.
        threads: of every side.
        repeats: medians are taken over so many.
        quick: a fifth of the repeats.
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
    repeats = max(1, repeats // 5) if quick else repeats
    measure_cold(measurement, prompts, repeats=min(repeats, MAX_COLD_REPEATS))
    measure_warm(measurement, prompts, repeats=repeats)
    run = {
        "threads": threads,
        "repeats": repeats,
        "minutes": round((time.time() - started) / 60, 1),
        "load average before": load_before,
        "load average after": os.getloadavg(),
    }
    report = report_of(measurement, {**machine(), **run})
    print_tables(report)
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


def measure_cold(measurement: Measurement, prompts: Iterator[list[int]], *, repeats: int) -> None:
    """Fresh processes: from their start to the first token after a short prompt; peak memory with a longer one."""
    for repeat in range(repeats + 1):  # the first only brings the files into the page cache
        say(f"cold start, {repeat} of {repeats}")
        short, longer = next(prompts)[:FIRST_TOKEN_PROMPT], next(prompts)[:MEMORY_PROMPT]
        for entry in list(measurement.entries):
            with measurement.dropping(entry):
                process = measurement.start(entry)
                process.begin([short], NUM_STEPS)
                first_token = time.perf_counter() - process.started
                process.begin([longer], NUM_STEPS)
                peak_bytes = process.advance(NUM_STEPS)["peak_bytes"]
                process.close()
                if repeat > 0:
                    measurement.values[entry][FIRST_TOKEN].append(first_token)
                    measurement.values[entry][PEAK_MEMORY].append(peak_bytes / 1e6)


def measure_warm(measurement: Measurement, prompts: Iterator[list[int]], *, repeats: int) -> None:
    """Processes that stay alive: one sequence after prompts of each length, then many sequences at once."""
    for entry in list(measurement.entries):
        with measurement.dropping(entry):
            measurement.processes[entry] = measurement.start(entry)
    for length in sorted({*PREFILLS, *CONTEXTS}):
        measure_one(measurement, prompts, length=length, repeats=repeats)
    for num_sequences in BATCHES:
        measure_many(measurement, prompts, num_sequences=num_sequences, repeats=repeats)
    for entry in measurement.entries:
        measurement.processes[entry].close()


def measure_one(measurement: Measurement, prompts: Iterator[list[int]], *, length: int, repeats: int) -> None:
    """Prefill of one prompt, and decoding after it."""
    prefill, decode = prefill_figure(length), decode_figure(length)
    for repeat in range(repeats + 1):  # the first to warm up
        say(f"prompt of {length:,} tokens, {repeat} of {repeats}")
        prompt = next(prompts)[:length]
        for entry in list(measurement.entries):
            with measurement.dropping(entry):
                begun = measurement.processes[entry].begin([prompt], NUM_STEPS)
                step_seconds = measurement.processes[entry].advance(NUM_STEPS)["seconds"]
                measurement.token_ids[entry].append(begun["token_id"])
                if repeat > 0 and length in PREFILLS:
                    measurement.values[entry][prefill].append(length / begun["seconds"])
                if repeat > 0 and length in CONTEXTS:
                    measurement.values[entry][decode].append(1 / step_seconds)
        if repeat > 0 and length in CONTEXTS:
            measurement.read_memory(decode, num_sequences=1, context=length)


def measure_many(measurement: Measurement, prompts: Iterator[list[int]], *, num_sequences: int, repeats: int) -> None:
    """Decoding of many sequences with prompts of their own, all in each step; each repeat goes on where one ended."""
    say(f"{num_sequences} sequences, prefill")
    chosen = [next(prompts)[:BATCH_CONTEXT] for _ in range(num_sequences)]
    for entry in list(measurement.entries):
        with measurement.dropping(entry):
            measurement.processes[entry].begin(chosen, BATCH_STEPS * (repeats + 1))
    for repeat in range(repeats + 1):
        say(f"{num_sequences} sequences, {repeat} of {repeats}")
        for entry in list(measurement.entries):
            with measurement.dropping(entry):
                step_seconds = measurement.processes[entry].advance(BATCH_STEPS)["seconds"]
                if repeat > 0:
                    measurement.values[entry][batch_figure(num_sequences)].append(num_sequences / step_seconds)
        if repeat > 0:
            measurement.read_memory(batch_figure(num_sequences), num_sequences=num_sequences, context=BATCH_CONTEXT)


def report_of(measurement: Measurement, run: dict[str, object]) -> Report:
    """Medians, and how often the first token is transformers'."""
    medians: dict[str, dict[str, dict[str, float]]] = {group: {} for group in dict.fromkeys(e.group for e in ENTRIES)}
    judge = next((entry for entry in measurement.entries if entry.library == JUDGE), None)
    for entry in measurement.entries:
        figures = {name: statistics.median(values) for name, values in measurement.values[entry].items()}
        if judge is not None:
            pairs = zip(measurement.token_ids[entry], measurement.token_ids[judge], strict=True)
            figures[SAME_TOKEN] = statistics.mean(ours == theirs for ours, theirs in pairs)
        medians[entry.group][entry.title] = figures
    limits = {
        group: {name: statistics.median(values) for name, values in of_group.items()}
        for group, of_group in measurement.limits.items()
    }
    return Report(run=run, medians=medians, limits=limits, failures=measurement.failures)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"processor": processor(), "python": platform.python_version(), **versions}


def processor() -> str:
    """Its name, which `platform` leaves out on Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    tyro.cli(main)
