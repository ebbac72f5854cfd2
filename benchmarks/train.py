"""Measure a training step beside transformers, peft, LitGPT and nanoGPT, on the same shapes and batches.

    python -m benchmarks.train [--case smollm2] [--instructions instructions.json] [--steps 3] [--json FILE]

Each side, in both precisions, runs in a process of its own, one after the other and around again, so that what the
machine does meanwhile falls on all of them; the median step counts, without each process's first. Peak memory is that
of the process. bfloat16 is left out where its products are slower by far, as with AVX2 alone: a step would take
minutes. LitGPT takes part where it is installed, nanoGPT where its folder of that name lies on PYTHONPATH; the case of
instructions, in SmolLM2's chat template, wants a file of such.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bar import Bar, print_bars
from benchmarks.train_cases import CASES, Case, draw_batches, num_tokens, write_model
from benchmarks.train_sides import measured_precisions, run_side, sides_of
from nextword.checkpoints.open_directory import open_model_directory
from nextword.training.machine import DTYPES, flops_per_token, peak_rate

ROUNDS = 2
MOST_OF_THEIR_MEMORY = 0.6
LEAST_OF_PEAK = 0.45
MOST_OVER_BETTER = 1.05


@dataclasses.dataclass
class Result:
    """Figures of one side."""

    tokens_per_second: list[float] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    peak_megabytes: float = 0.0

    @property
    def speed(self) -> float:
        """Return the tokens per second of the median step."""
        return statistics.median(self.tokens_per_second)


def run_alone(case: Case, side: str, folder: Path, options: argparse.Namespace) -> None:
    """Run one side in this process and print its figures, without the first step, which sets things up."""
    batches = draw_batches(case, options.steps + 1, options.instructions)
    timings = run_side(side, case, folder, batches)
    speeds = [num_tokens(batch) / seconds for batch, seconds in zip(batches, timings.seconds, strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dataclasses.asdict(Result(speeds[1:], timings.losses, peak))))


def measure(name: str, folder: Path, arguments: list[str], precisions: Sequence[str]) -> dict[str, Result]:
    """Measure all sides of a case."""
    results = {side: Result() for side in sides_of(CASES[name], precisions)}
    for _ in range(ROUNDS):
        for side, result in results.items():
            command = [
                sys.executable,
                "-m",
                "benchmarks.train",
                *arguments,
                "--case",
                name,
                "--side",
                side,
                str(folder),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = Result(**json.loads(done.stdout.splitlines()[-1]))
            result.tokens_per_second += found.tokens_per_second
            result.peak_megabytes = max(result.peak_megabytes, found.peak_megabytes)
            result.losses = found.losses
    return results


def print_table(case: Case, results: Mapping[str, Result], operations: float, peaks: Mapping[str, float]) -> None:
    """Print speed, share of the machine's peaks, memory and losses of each side."""
    rates = " and ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in peaks.items())
    print(f"\n{case.title}: {case.rows} x {case.length} tokens; large products reach {rates}, GFLOP/s")
    print(f"{'':26}{'tokens/s':>10}{'GFLOP/s':>9}{'MB':>8}{'first loss':>12}{'last':>9}{'nextword is':>14}")
    for side, result in results.items():
        print(
            f"{side:26}{result.speed:10,.0f}{operations * result.speed / 1e9:9.0f}{result.peak_megabytes:8,.0f}"
            f"{result.losses[0]:12.5f}{result.losses[-1]:9.4f}{_ours(results).speed / result.speed:12.2f} x"
        )


def bars(case: Case, results: Mapping[str, Result], operations: float, peaks: Mapping[str, float]) -> Iterator[Bar]:
    """Return the targets of a case: ours in the default precision against peers in either."""
    ours, peers = _ours(results), {side: result for side, result in results.items() if not side.startswith("nextword")}
    own = {precision: results[f"nextword {precision}"] for precision in peaks}
    better = max(own, key=lambda precision: own[precision].speed)
    yield Bar("speed / the fastest peer in either precision", case.wanted, ours.speed / _fastest(peers).speed)
    slower = own[better].speed / ours.speed
    yield Bar(f"time / that in {better}, the better choice", MOST_OVER_BETTER, slower, is_most=True)
    if case.has_answers:
        return
    yield Bar(f"arithmetic / large products in {better}", LEAST_OF_PEAK, operations * ours.speed / peaks[better])
    if case.is_pretrained:
        theirs = min(result.peak_megabytes for result in peers.values())
        yield Bar("memory / the most frugal peer", MOST_OF_THEIR_MEMORY, ours.peak_megabytes / theirs, is_most=True)


def _ours(results: Mapping[str, Result]) -> Result:
    return next(iter(results.values()))


def _fastest(results: Mapping[str, Result]) -> Result:
    return max(results.values(), key=lambda result: result.speed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="one case; without it, all")
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed, in each of two rounds")
    parser.add_argument("--instructions", type=Path, help="file of instructions; without it, that case is left out")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_alone(CASES[options.case], options.side[0], Path(options.side[1]), options)
        return
    arguments = ["--steps", str(options.steps)]
    if options.instructions:
        arguments += ["--instructions", str(options.instructions)]
    everything: dict[str, Any] = {}
    precisions = measured_precisions()
    for name, case in CASES.items():
        if options.case not in (None, name) or (case.has_answers and not options.instructions):
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_model(case, Path(folder) / name)
            results = measure(name, Path(folder) / name, arguments, precisions)
            config = open_model_directory(Path(folder) / name).config
        trained = 1.0 if case.adapter is None else 0.0  # an adapter's own weights are next to nothing
        operations = flops_per_token(config, num_seen=case.length / 2, trained_share=trained)
        peaks = {precision: peak_rate(DTYPES[precision]) for precision in precisions}
        print_table(case, results, operations, peaks)
        print_bars(bars(case, results, operations, peaks))
        everything[name] = {side: dataclasses.asdict(result) for side, result in results.items()} | {"peaks": peaks}
        if options.json:
            options.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
