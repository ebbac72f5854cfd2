"""How fast are prefill and decoding? Ours beside llama.cpp, its fork ik_llama.cpp, OpenVINO GenAI, CTranslate2 and
transformers, and beside what the memory allows. SmolLM2, and models of 1B and 3B with random weights.

    python -m benchmarks.inference [--model NAME] [--threads N] [--repeats 3] [--only nextword,llama.cpp]
                                   [--workloads 135M "1B Q4_K_M"] [--json FILE] [--plot FILE]

All get the same weights, token ids and number of threads, and write greedily. Figures are medians; what takes a side
longer than eight seconds is measured once. Many sequences at once are left to the attention that was the faster one of
its library. Workloads and sides that cannot be measured give a line that says why.
"""

from __future__ import annotations

import contextlib
import os
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
from benchmarks.inference_report import AMX, SAME_TOKEN, Report, draw, print_tables, write_json
from benchmarks.measurement import Measurement, measure, say
from benchmarks.model_files import model_files
from benchmarks.random_models import random_model
from benchmarks.sides import SMALL, WORKLOADS, Workload, has_amx
from nextword.checkpoints.catalogue import resolve
from nextword.inference.free_memory import free_bytes
from nextword.inference.native_backend import num_cores
from nextword.native import core

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


def main(
    model: str = "smollm2-135m",
    threads: int = num_cores(),
    repeats: int = 3,
    only: str = "",
    workloads: tuple[str, ...] = tuple(WORKLOADS),
    json: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Time prefill and decoding, ours and theirs.

    Args:
        model: a catalogue name or a GGUF file, in Q4_1.
        threads: of every side.
        repeats: medians are taken over so many.
        workloads: which models are measured; those for which the memory does not suffice are left out.
        only: libraries, separated by commas, by the beginning of their names; all if empty.
        json: also write the figures here.
        plot: also draw them here, in the format of the name's ending.
    """
    started, load_before = time.time(), os.getloadavg()
    source, reports = resolve(model), []
    for name in workloads:
        say(f"== {name}")
        reports.append(report_of_workload(name, source, threads=threads, repeats=repeats, only=only))
    run = {
        "threads": threads,
        "repeats": repeats,
        "minutes": round((time.time() - started) / 60, 1),
        "load average before": load_before,
        "load average after": os.getloadavg(),
    }
    report = joined(reports, {**machine(), **run})
    print_tables(report)
    print_bars(bars(report))
    if json is not None:
        write_json(json, report)
    if plot is not None:
        draw(plot, report)


def report_of_workload(name: str, source: Path, *, threads: int, repeats: int, only: str) -> Report:
    """Measure a workload; a report of nothing but a line if it cannot be measured here."""
    workload = WORKLOADS[name]
    entries = [entry for entry in workload.entries if entry.library.startswith(tuple(only.split(",")))]
    if free_bytes() < workload.memory_bytes:
        return _failed(f"{name}: not measured: it takes {workload.memory_bytes / 1e9:.0f} GB of memory")
    try:
        files = model_files(source) if name == SMALL else _random_files(workload)
    except (OSError, ImportError, RuntimeError) as error:
        return _failed(f"{name}: not measured: its files cannot be made: {error}")
    measurement = Measurement(entries, files, threads)
    measure(measurement, workload, repeats=repeats)
    return report_of(measurement)


def _random_files(workload: Workload) -> dict[str, Path]:
    """Return the path for each kind of weights, such as "1B F16"."""
    named = {entry.weights: entry.weights.split() for entry in workload.entries}
    return {weights: random_model(shape, kind) for weights, (shape, kind) in named.items()}


def _failed(line: str) -> Report:
    say(line)
    return Report(run={}, medians={}, limits={}, bytes_read={}, failures=[line])


def joined(reports: Sequence[Report], run: dict[str, object]) -> Report:
    """Return the reports of all workloads as one."""
    return Report(
        run=run,
        medians={group: sides for report in reports for group, sides in report.medians.items()},
        limits={group: limit for report in reports for group, limit in report.limits.items()},
        bytes_read={group: sizes for report in reports for group, sizes in report.bytes_read.items()},
        failures=[line for report in reports for line in report.failures],
    )


def report_of(measurement: Measurement) -> Report:
    """Return medians, and how often the first token is that of transformers."""
    medians: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
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
        run={}, medians=medians, limits=limits, bytes_read=dict(measurement.bytes_read), failures=measurement.failures
    )


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
