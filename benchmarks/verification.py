"""Measure a step of several tokens beside a step of one: speculative decoding verifies drafts by such steps.

    python -m benchmarks.verification [--model NAME_OR_PATH] [--context 512] [--threads N] [--repeats 15]

Rows of one sequence, as in verifying a draft, beside sequences of one token each, as in a batch. Medians over
interleaved repeats. Prints milliseconds a step, the ratio to a step of one token, and tokens per second.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict

import tyro

import nextword
from benchmarks.bar import Bar, print_bars
from nextword.inference.backend import Backend, Chunk
from nextword.inference.native_backend import num_cores
from nextword.inference.prefill import prefill_chunks

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
MOST_OVER_ONE = {2: 1.15, 4: 1.3, 8: 1.8}
"""Cost of verifying so many tokens over a step of one, at most."""


def main(model: str = "smollm2-135m", context: int = 512, threads: int = num_cores(), repeats: int = 15) -> None:
    """Time steps of 1 to 64 tokens.

    Args:
        model: a name, folder or file.
        context: positions before the step.
        threads: of the native backend.
        repeats: medians are taken over so many.
    """
    backend = nextword.load(model, backend="native", num_threads=threads).engine.backend
    prompt = random.Random(0).choices(range(backend.vocab_size), k=context)
    cache_id = backend.open_cache()
    for chunk in prefill_chunks(cache_id, prompt, 0, num_logits=1):
        backend.step([chunk])
    seconds: dict[tuple[int, int], list[float]] = defaultdict(list)
    for _ in range(repeats):
        for count in COUNTS:
            seconds[1, count].append(step_seconds(backend, cache_id, sequences=1, rows=count))
            seconds[count, 1].append(step_seconds(backend, cache_id, sequences=count, rows=1))
    print("| tokens | one sequence, ms | over one token | tokens/s | as many sequences, ms | over one | tokens/s |")
    print("|---|---|---|---|---|---|---|")
    medians = {case: statistics.median(values) for case, values in seconds.items()}
    for count in COUNTS:
        cells = [medians[1, count], medians[count, 1]]
        texts = [f"{s * 1e3:.2f} | {s / medians[1, 1]:.2f} | {count / s:.0f}" for s in cells]
        print(f"| {count} | {' | '.join(texts)} |")
    print_bars(
        Bar(f"a step of {count} tokens / of one", most, medians[1, count] / medians[1, 1], is_most=True)
        for count, most in MOST_OVER_ONE.items()
    )


def step_seconds(backend: Backend, cache_id: int, *, sequences: int, rows: int) -> float:
    """Seconds of a step of `rows` tokens for each of some copies of a sequence, all logits included."""
    copies = [backend.fork_cache(cache_id) for _ in range(sequences)]
    backend.step([Chunk(copy, [0], 1) for copy in copies])  # copies the shared page, and wakes the threads
    start = time.perf_counter()
    backend.step([Chunk(copy, list(range(1, rows + 1)), rows) for copy in copies])
    seconds = time.perf_counter() - start
    for copy in copies:
        backend.close_cache(copy)
    return seconds


if __name__ == "__main__":
    tyro.cli(main)
