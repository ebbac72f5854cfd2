"""How long does choosing a token take? Ours, in C++ and by numpy where that was not built, beside transformers' warpers
and torch.multinomial.

    python -m benchmarks.select_token [--model NAME_OR_PATH] [--repeats 30]

One thread; medians over interleaved repeats, so that a slow moment of the machine falls on all. Before each call 64 MB
are read, as a decode step reads the weights: the same call in a tight loop, its code and data in the nearest caches,
takes half as long or less. With `--model` the rows include the model's own logits after a prompt. Prints a table,
writes benchmarks/results/select_token.json.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before the libraries that read it

import contextlib
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from nextword.decoding import sampler, selection, softmax_weights
from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import Sampler
from nextword.native import native

VOCAB_SIZES = (49_152, 262_144)  # SmolLM2's, Gemma 3's
WEIGHTS = np.ones(64 << 18, dtype=np.float32)  # 64 MB
PROMPT = "The river rose for three days, and on the morning of the fourth"
RESULTS = Path(__file__).parent / "results" / "select_token.json"

Row = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Strategy:
    """Sampling strategy, as ours and as theirs."""

    name: str
    ours: SamplingParams
    theirs: LogitsProcessorList


STRATEGIES = (
    Strategy(
        "temperature 0.8, top-k 50, top-p 0.9",
        SamplingParams(seed=0, temperature=0.8, top_k=50, top_p=0.9),
        LogitsProcessorList([TemperatureLogitsWarper(0.8), TopKLogitsWarper(50), TopPLogitsWarper(0.9)]),
    ),
    Strategy("top-k 40", SamplingParams(seed=0, top_k=40), LogitsProcessorList([TopKLogitsWarper(40)])),
    Strategy("top-p 0.9", SamplingParams(seed=0, top_p=0.9), LogitsProcessorList([TopPLogitsWarper(0.9)])),
    Strategy("random sampling", SamplingParams(seed=0), LogitsProcessorList()),
)


def main(model: str | None = None, repeats: int = 30) -> None:
    """Time the choice of a token.

    Args:
        model: also a row of this model's own logits: a name, folder or file.
        repeats: medians are taken over so many.
    """
    torch.set_num_threads(1)
    measured = [
        {"row": name, "vocab_size": row.size, "strategy": strategy.name, **compare(strategy, row, repeats=repeats)}
        for name, row in rows(model).items()
        for strategy in STRATEGIES
    ]
    print_table(measured)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "repeats": repeats, "measured": measured}, indent=2) + "\n")


def rows(model: str | None) -> dict[str, Row]:
    """Return rows of logits, by name."""
    rng = np.random.default_rng(0)
    found: dict[str, Row] = {}
    if model is not None:
        import nextword

        distribution = nextword.load(model).next(PROMPT)
        found[f"{Path(model).name}, {distribution.vocab_size:,}"] = distribution.logits
    for size in VOCAB_SIZES:
        found[f"N(0, 2.5), {size:,}"] = rng.normal(scale=2.5, size=size).astype(np.float32)
        found[f"N(0, 1), {size:,}"] = rng.normal(size=size).astype(np.float32)
        found[f"one of 50, else 0, {size:,}"] = np.where(np.arange(size) == size // 3, 50, 0).astype(np.float32)
        found[f"all equal, {size:,}"] = np.zeros(size, dtype=np.float32)
    return found


def compare(strategy: Strategy, row: Row, *, repeats: int) -> dict[str, float]:
    """Measure the median milliseconds of each, and our speed-up over theirs."""
    if native is None:
        raise SystemExit("the C++ core was not built: there is nothing to compare")
    scores = torch.from_numpy(row)[None]
    token_ids = torch.zeros((1, 1), dtype=torch.long)
    own = Sampler(strategy.ours, [0])

    def ours() -> None:
        own.choose(row)

    def theirs() -> None:
        torch.multinomial(torch.softmax(strategy.theirs(token_ids, scores), dim=-1), num_samples=1)

    times: dict[str, list[float]] = {"ours_ms": [], "numpy_ms": [], "transformers_ms": []}
    for _ in range(repeats):
        times["ours_ms"].append(milliseconds(ours))
        with contextlib.ExitStack() as patches:
            for module in (softmax_weights, sampler, selection):
                patches.enter_context(mock.patch.object(module, "native", None))
            times["numpy_ms"].append(milliseconds(ours))
        times["transformers_ms"].append(milliseconds(theirs))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "ratio": medians["transformers_ms"] / medians["ours_ms"]}


def milliseconds(choose: Callable[[], None]) -> float:
    """Return the milliseconds of one call, made when the weights have just been read."""
    WEIGHTS.sum()
    start = time.perf_counter()
    choose()
    return (time.perf_counter() - start) * 1000


def print_table(measured: list[dict[str, object]]) -> None:
    """Print a line for each measurement."""
    print(
        f"{'logits':34} {'strategy':38} {'ours, ms':>9} {'by numpy':>9} {'transformers, ms':>17} {'times as fast':>14}"
    )
    for line in measured:
        numbers = (
            f"{line['ours_ms']:9.3f} {line['numpy_ms']:9.3f} {line['transformers_ms']:17.3f} {line['ratio']:14.1f}"
        )
        print(f"{line['row']!s:34} {line['strategy']!s:38} {numbers}")


def machine() -> dict[str, str]:
    """Describe machine, versions and settings."""
    versions = {"numpy": np.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {"processor": platform.processor() or platform.machine(), "threads": "1", **versions}


if __name__ == "__main__":
    tyro.cli(main)
