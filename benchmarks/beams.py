"""Measure a beam search beside as many samples: both run the same number of sequences in each step.

    python -m benchmarks.beams [--model NAME_OR_PATH] [--tokens 64] [--threads N] [--repeats 5]

Prints milliseconds a token of all texts together, medians over interleaved repeats, and the ratio of the two.
"""

from __future__ import annotations

import statistics
import time

import tyro

import nextword
from nextword.inference.native_backend import num_cores

PROMPT = "The lighthouse on the northern point was built in 1871, after three ships had been lost in a single winter. "
WIDTHS = (1, 2, 4, 8)


def main(model: str = "smollm2-135m", tokens: int = 64, threads: int = num_cores(), repeats: int = 5) -> None:
    """Time 1 to 8 beams, and samples.

    Args:
        model: a name, folder or file.
        tokens: of each text.
        threads: of the native backend.
        repeats: medians are taken over so many.
    """
    lm = nextword.load(model, num_threads=threads, speculation=False)
    ways: dict[tuple[str, int], nextword.SamplingParams] = {}
    for width in WIDTHS:
        length = {"max_tokens": tokens, "min_tokens": tokens}
        ways["samples", width] = lm.params(n=width, temperature=1.0, seed=0, **length)  # type: ignore[arg-type]
        ways["beams", width] = lm.params(num_beams=width, **length)  # type: ignore[arg-type]
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, params in ways.items():
            start = time.perf_counter()
            lm.generate_batch([PROMPT], [params])
            seconds[way].append(time.perf_counter() - start)
    medians = {way: 1e3 * statistics.median(values) / tokens for way, values in seconds.items()}
    print("| sequences | samples, ms | beams, ms | beams over samples |")
    print("|---|---|---|---|")
    for width in WIDTHS:
        samples, beams = medians["samples", width], medians["beams", width]
        print(f"| {width} | {samples:.2f} | {beams:.2f} | {beams / samples:.2f} |")


if __name__ == "__main__":
    tyro.cli(main)
