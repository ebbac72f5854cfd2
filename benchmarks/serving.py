"""What does the server take of the engine's speed, and how long do its clients wait? Beside llama.cpp's own server.

    python -m benchmarks.serving [--model smollm2-135m] [--threads N] [--streams 1 4 16 64] [--repeats 2]
                                 [--only in-process,nextword,llama.cpp] [--json FILE]

All sides get the same weights, the same prompts of 64 tokens, as many new tokens, and the same sampling; 16 requests
are computed at a time, and the client runs on the same cores. The sides take turns. Then, of ours alone: long prompts
among short ones, and random arrivals at half, once and twice the rate at which requests were finished, with a queue of
16. Prints a table. `serving_soak` looks for memory that grows.
"""

from __future__ import annotations

import asyncio
import itertools
import json as json_format
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tyro

from benchmarks.inference import machine
from benchmarks.measurement import say
from benchmarks.serving_load import Answer, Body, by_chance, by_streams, probed, quantile
from benchmarks.serving_sides import IN_PROCESS, OURS, PEER, ServerProcess, bodies_of, in_process
from nextword.checkpoints.catalogue import resolve
from nextword.inference.native_backend import num_cores
from nextword.language_model import LanguageModel, load

Figures = dict[str, float]
Way = Callable[[Sequence[Body], int], Figures]
PROMPT_TOKENS = NEW_TOKENS = 64
LONG_PROMPT = 2048
QUEUE = 16
SECONDS_OF_ARRIVALS = 6.0
NAMES = {"in-process": IN_PROCESS, "nextword": OURS, "llama.cpp": PEER}
RATE, LAG = "tokens/s", "/health p99 ms"


def main(
    model: str = "smollm2-135m",
    threads: int = num_cores(),
    streams: tuple[int, ...] = (1, 4, 16, 64),
    repeats: int = 2,
    only: str = ",".join(NAMES),
    json: Path | None = None,
) -> None:
    """Time the server.

    Args:
        model: a catalogue name or a GGUF file.
        threads: of each side.
        streams: requests that are sent at the same time.
        repeats: medians are taken over so many.
        only: sides, separated by commas.
        json: also write the figures here.
    """
    path, load_before = resolve(model), os.getloadavg()
    lm = load(str(path), num_threads=threads)
    bodies = bodies_of(lm, PROMPT_TOKENS, NEW_TOKENS)
    sides = [NAMES[name] for name in only.split(",")]
    servers = {side: ServerProcess(side, path, threads) for side in sides if side != IN_PROCESS}
    ways = {side: _way(servers[side].port if side in servers else None, lm) for side in sides}
    table: dict[str, Figures] = {}
    for count in streams:
        table |= in_turns(ways, bodies, count, repeats)
    if OURS in servers:
        table |= of_mixed_lengths(servers[OURS].port, bodies, bodies_of(lm, LONG_PROMPT, 32))
    for server in servers.values():
        server.close()
    if OURS in servers:
        table |= of_overload(path, threads, bodies)
    print_table(table)
    if json is not None:
        run = {**machine(), "threads": threads, "repeats": repeats, "load average before": load_before}
        json.write_text(json_format.dumps({"run": run, "figures": table}, indent=2) + "\n")


def _way(port: int | None, lm: LanguageModel) -> Way:
    """Return what runs requests by so many at a time: a server at a port, or the engine in this process."""
    if port is not None:
        return lambda asked, count: of_answers(asyncio.run(by_streams(port, asked, count)))

    def run(asked: Sequence[Body], count: int) -> Figures:
        seconds, num_tokens = in_process(lm, asked, count)
        return {RATE: num_tokens / seconds}

    return run


def in_turns(ways: dict[str, Way], bodies: Iterator[Body], count: int, repeats: int) -> dict[str, Figures]:
    """Return the medians of each side, for so many requests at the same time."""
    found: dict[str, list[Figures]] = {side: [] for side in ways}
    for repeat in range(repeats):
        say(f"{count} streams, {repeat + 1} of {repeats}")
        for side, run in ways.items():
            figures = run(take(bodies, 2 * count if count > 1 else 4), count)
            say(f"  {side}: {figures[RATE]:.1f} {RATE}")
            found[side].append(figures)
    return {
        f"{count} streams, {side}": {name: statistics.median(one[name] for one in values) for name in values[0]}
        for side, values in found.items()
    }


def of_answers(answers: Sequence[Answer]) -> Figures:
    """Return the figures of answers that came together."""
    served = [answer for answer in answers if answer.status == 200]
    firsts = [answer.first for answer in served]
    gaps = [gap for answer in served for gap in answer.gaps]
    seconds = max(answer.end for answer in answers) - min(answer.begin for answer in answers)
    return {
        RATE: sum(answer.num_tokens for answer in served) / seconds,
        "first p50 s": quantile(firsts, 0.5),
        "first p99 s": quantile(firsts, 0.99),
        "next p50 ms": 1e3 * quantile(gaps, 0.5),
        "next p99 ms": 1e3 * quantile(gaps, 0.99),
    }


def of_mixed_lengths(port: int, short: Iterator[Body], long: Iterator[Body]) -> dict[str, Figures]:
    """12 streams of short prompts beside 4 of long ones; meanwhile `/health` is asked, which the event loop answers."""
    say("long prompts among short ones")

    async def both() -> tuple[list[Answer], list[Answer]]:
        one, other = by_streams(port, take(short, 36), 12), by_streams(port, take(long, 8), 4)
        found = await asyncio.gather(one, other)
        return found[0], found[1]

    (of_short, of_long), waits = asyncio.run(probed(port, both()))
    lag = {LAG: 1e3 * quantile(waits, 0.99)}
    return {
        f"mixed, prompts of {length} tokens": {**of_answers(answers), **lag}
        for length, answers in ((PROMPT_TOKENS, of_short), (LONG_PROMPT, of_long))
    }


def of_overload(path: Path, threads: int, bodies: Iterator[Body]) -> dict[str, Figures]:
    """Random arrivals by the rate at which 16 streams are finished; what the queue does not take is refused."""
    server = ServerProcess(OURS, path, threads, "--max-queue", str(QUEUE))
    begin = time.perf_counter()
    answers = asyncio.run(by_streams(server.port, take(bodies, 32), 16))
    capacity = len(answers) / (time.perf_counter() - begin)
    table = {}
    for times in (0.5, 1.0, 2.0):
        say(f"{times} x {capacity:.1f} requests a second")
        answers = asyncio.run(by_chance(server.port, bodies, per_second=times * capacity, seconds=SECONDS_OF_ARRIVALS))
        refused = [answer for answer in answers if answer.status == 429]
        assert all(answer.status in (200, 429) for answer in answers)
        table[f"arrivals at {times} x capacity"] = {
            **of_answers(answers),
            "refused %": 100 * len(refused) / len(answers),
            "refusal p99 ms": 1e3 * quantile((answer.end - answer.begin for answer in refused), 0.99),
            "queue s": QUEUE / capacity,
        }
    server.close()
    return table


def take(bodies: Iterator[Body], count: int) -> list[Body]:
    """Return the next requests."""
    return list(itertools.islice(bodies, count))


def print_table(table: dict[str, Figures]) -> None:
    """Print a line for each row; figures that a row lacks stay empty."""
    columns = list(dict.fromkeys(name for figures in table.values() for name in figures))
    print(f"{'':36}" + "".join(f"{name:>16}" for name in columns))
    for row, figures in table.items():
        cells = (f"{figures[name]:.3f}"[:7] if name in figures else "" for name in columns)
        print(f"{row:36}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    tyro.cli(main)
