"""How fast are prefill and decoding? Ours beside llama.cpp, its fork ik_llama.cpp, OpenVINO GenAI, CTranslate2 and
transformers, and beside what the memory allows. SmolLM2, and models of 1B and 3B with random weights.

    python -m benchmarks.inference [--model NAME] [--threads N] [--repeats 3] [--only nextword llama.cpp]
                                   [--workloads Q4_1 "1B Q4_K_M"] [--parts cold "prompt of 512"]
                                   [--json FILE [--seconds N]] [--plot FILE]

All get the same weights, token ids and number of threads, and write greedily. Figures are medians. Many sequences at
once are left to the attention that was the faster one of its library. Workloads and sides that cannot be measured give
a line that says why. All of it takes more than an hour; with `--json`, what was measured is kept, a later run goes on
with what is missing, and `--seconds` ends a run early.
"""

from __future__ import annotations

import contextlib
import math
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import tyro

from benchmarks.bar import print_bars
from benchmarks.bars import bars
from benchmarks.cells import Cells
from benchmarks.gemma import gemma_file
from benchmarks.inference_report import AMX, MEMORY, SAME_TOKEN, Figures, Report, draw, print_tables
from benchmarks.measurement import Bench, measure
from benchmarks.model_files import model_files
from benchmarks.random_models import random_model
from benchmarks.sides import GEMMA_270M, WORKLOADS, has_amx, is_of_smollm2
from nextword.checkpoints.catalogue import resolve
from nextword.inference.free_memory import free_bytes
from nextword.inference.native_backend import num_cores
from nextword.native import core

JUDGE = "bf16", "transformers"
"""Workload and side whose first tokens the others are compared with."""
PACKAGES = (
    "llama-cpp-python",
    "ik-llama-cpp-python",
    "openvino-genai",
    "ctranslate2",
    "transformers",
    "torch",
    "numpy",
)


def main(
    model: str = "smollm2-135m",
    threads: int = num_cores(),
    repeats: int = 3,
    only: tuple[str, ...] = ("",),
    workloads: tuple[str, ...] = tuple(WORKLOADS),
    parts: tuple[str, ...] = ("",),
    json: Path | None = None,
    seconds: float = math.inf,
    plot: Path | None = None,
) -> None:
    """Time prefill and decoding, ours and theirs.

    Args:
        model: a catalogue name or a GGUF file, in Q4_1.
        threads: of every side.
        repeats: medians are taken over so many.
        only: beginnings of the names of the libraries that are measured.
        workloads: which models are measured; those for which the memory does not suffice are left out.
        parts: beginnings of what is measured of each: cold start, "prompt of 512", "16 sequences".
        json: keep what is measured here, and go on with what is missing.
        seconds: begin no measurement later than this.
        plot: also draw the figures, in the format of the name's ending.
    """
    source, until = resolve(model), time.monotonic() + seconds
    cells = Cells(json, {**machine(), "model": source.name, "threads": threads})
    failures = []
    for name in workloads:
        if time.monotonic() < until:
            try:
                bench = Bench(name, WORKLOADS[name], files_of(name, source), threads=threads, repeats=repeats)
                measure(bench, cells, repeats=repeats, only=only, parts=parts, until=until)
            except (OSError, ImportError, RuntimeError, MemoryError) as error:
                failures.append(f"{name}: not measured: {error}")
    report = report_of(cells, failures)
    print_tables(report)
    print_bars(bars(report))
    if plot is not None:
        draw(plot, report)


def files_of(name: str, source: Path) -> dict[str, Path]:
    """Return the path for each kind of weights, such as "Q4_1" or "1B F16", made where it is not there yet.

    Raises what making them raises, and MemoryError if they are too large for this machine.
    """
    if free_bytes() < WORKLOADS[name].memory_bytes:
        raise MemoryError(f"it takes {WORKLOADS[name].memory_bytes / 1e9:.0f} GB of memory")
    if is_of_smollm2(name):
        return model_files(source)
    if name == GEMMA_270M:
        return {name: gemma_file()}
    shape, kind = name.split()
    return {name: random_model(shape, kind)}


def report_of(cells: Cells, failures: Sequence[str] = ()) -> Report:
    """Return medians, what could not be measured, and how often the first token is that of transformers."""
    medians, limits = {}, {}
    bytes_read: dict[str, dict[str, int]] = defaultdict(dict)
    for name, workload in WORKLOADS.items():
        found = cells.medians(name)
        limits[name] = found.get(MEMORY, {})
        titles = [entry.title for entry in workload.entries if entry.title in found]
        medians[name] = {title: {**found[title], **same_tokens(cells, name, title)} for title in titles}
    for cell in cells:
        if cell.bytes_read is not None:
            bytes_read[cell.workload].update(dict.fromkeys(cell.figures, cell.bytes_read))
    errors = [f"{cell.workload} {cell.side}: not measured: {cell.error}" for cell in cells if cell.error]
    return Report({**cells.setting, **cells.period()}, medians, limits, bytes_read, [*failures, *errors])


def same_tokens(cells: Cells, name: str, title: str) -> Figures:
    """Return in how many of a side's prompts the first token is that of the judge; nothing without common prompts."""
    judge = JUDGE[0] if is_of_smollm2(name) else name
    tokens: dict[tuple[str, str], dict[tuple[str, int], int]] = defaultdict(dict)
    for cell in cells:
        if cell.token_id is not None:
            tokens[cell.workload, cell.side][cell.part, cell.repeat] = cell.token_id
    expected, found = tokens[judge, JUDGE[1]], tokens[name, title]
    common = [prompt for prompt in found if prompt in expected]
    return {SAME_TOKEN: statistics.mean(found[prompt] == expected[prompt] for prompt in common)} if common else {}


def machine() -> dict[str, object]:
    """Describe machine, versions and settings."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    isa = {"processor": processor(), "instruction set": core.choose_isa(""), AMX: has_amx()}
    return {**isa, "python": platform.python_version(), **versions}


def processor() -> str:
    """Return the processor's name, which `platform` leaves out on Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


if __name__ == "__main__":
    tyro.cli(main)
