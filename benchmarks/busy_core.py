"""How fast does a model decode while another process keeps one core busy? Two threads and one, with and without it.

    python -m benchmarks.busy_core [--model smollm2-135m] [--threads 2] [--rounds 15]

The bar: beside the busy process, all threads together are no slower than one thread that has the machine for itself.
The busy process counts, pinned to one core; the engine's threads go where the system puts them. One process holds a
model for each number of threads; the conditions take turns, so that a slow moment of the machine falls on all. A
figure is the median over rounds of the tokens per second of a round, which holds whole time slices of the system.
Prints a table, writes benchmarks/results/busy_core.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tyro

import nextword
from benchmarks.bar import Bar, print_bars
from nextword.inference.backend import Backend, Chunk

CONTEXT = 512
STEPS = 60
TOKEN = 100
SETTLE_SECONDS = 0.05
RESULTS = Path(__file__).parent / "results" / "busy_core.json"
BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"
"""Script that keeps a core busy; it prints a line when it begins."""


class Decoder:
    """Model that continues the same text again and again."""

    def __init__(self, model: str, num_threads: int) -> None:
        self.backend: Backend = nextword.load(model, backend="native", num_threads=num_threads).engine.backend
        self._base = self.backend.open_cache()
        self.backend.step([Chunk(self._base, [TOKEN] * CONTEXT, 0)])

    def tokens_per_second(self) -> float:
        """Return the tokens per second of one round."""
        cache_id = self.backend.fork_cache(self._base)
        start = time.perf_counter()
        for _ in range(STEPS):
            self.backend.step([Chunk(cache_id, [TOKEN], 1)])
        seconds = time.perf_counter() - start
        self.backend.close_cache(cache_id)
        return STEPS / seconds


def main(model: str = "smollm2-135m", threads: int = 2, rounds: int = 15) -> None:
    """Time decoding beside a busy process.

    Args:
        model: a name, folder or file.
        threads: of the engine, at least two.
        rounds: medians are taken over so many.
    """
    decoders = {count: Decoder(model, count) for count in (1, threads)}
    rates: dict[tuple[int, bool], list[float]] = {
        (count, is_busy): [] for is_busy in (False, True) for count in decoders
    }
    core = max(os.sched_getaffinity(0))
    for _ in range(rounds):
        for (count, is_busy), found in rates.items():
            with busy_core(core) if is_busy else contextlib.nullcontext():
                time.sleep(SETTLE_SECONDS)
                found.append(decoders[count].tokens_per_second())
    medians = {key: statistics.median(found) for key, found in rates.items()}
    print_table(medians)
    ratio = medians[threads, True] / medians[1, False]
    print_bars([Bar(f"{threads} threads beside a busy process / one thread alone", 1, ratio)])
    write(rates, ratio)


@contextlib.contextmanager
def busy_core(core: int) -> Iterator[None]:
    """Run a busy process on that core during the block."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(core)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def print_table(medians: dict[tuple[int, bool], float]) -> None:
    """Print a line for each number of threads."""
    print(f"{'tokens/s, context ' + str(CONTEXT):28} {'alone':>10} {'beside a busy process':>24}")
    for count in dict.fromkeys(count for count, _ in medians):
        name = f"{count} thread{'s' if count > 1 else ''}"
        print(f"{name:28} {medians[count, False]:10.0f} {medians[count, True]:24.0f}")


def write(rates: dict[tuple[int, bool], list[float]], ratio: float) -> None:
    """Write the figures as JSON."""
    rounds = [
        {"threads": count, "beside_a_busy_process": is_busy, "tokens_per_second": found}
        for (count, is_busy), found in rates.items()
    ]
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "ratio": ratio, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
