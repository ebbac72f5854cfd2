"""What does the server take of the engine's speed, and how long do its clients wait? Beside llama.cpp's own server.

    python -m benchmarks.serving PART [--model smollm2-135m] [--threads N] [--repeats 3] [--streams 16] [--per-stream 2]
                                      [--only in-process,nextword,llama.cpp] [--json FILE]

All sides get the same weights, the same prompts of 64 tokens, as many new tokens, and the same sampling; 16 requests
are computed at a time, and the client runs on the same cores. The sides take turns. The parts:

    streams    so many requests at the same time: tokens a second, and the times of their texts
    mixed      4 streams of long prompts among 12 of short ones
    overload   random arrivals at half, once and twice the rate at which requests are finished, with a queue of 16
    ready      from the start of a process to its first answer; cold: the file's pages are not in memory

Prints a table, and appends the figures to a file. `serving_soak` looks for memory that grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json as json_format
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from benchmarks.inference import machine
from benchmarks.measurement import say
from benchmarks.serving_load import Answer, Body, ask, by_chance, by_streams, probed, quantile
from benchmarks.serving_sides import IN_PROCESS, OURS, PEER, ServerProcess, bodies_of, forget_pages, in_process
from nextword.checkpoints.catalogue import resolve
from nextword.inference.native_backend import num_cores
from nextword.language_model import LanguageModel
from nextword.loading import load

Figures = dict[str, float]
Way = Callable[[Sequence[Body], int], Figures]
Part = Literal["streams", "mixed", "overload", "ready"]
PROMPT_TOKENS = NEW_TOKENS = 64
LONG_PROMPT = 2048
QUEUE = 16
SECONDS_OF_ARRIVALS = 6.0
NAMES = {"in-process": IN_PROCESS, "nextword": OURS, "llama.cpp": PEER}
RATE, LAG = "tokens/s", "/health p99 ms"


def main(
    part: Annotated[Part, tyro.conf.Positional],
    model: str = "smollm2-135m",
    threads: int = num_cores(),
    streams: int = 16,
    per_stream: int = 2,
    repeats: int = 3,
    only: str = ",".join(NAMES),
    json: Path | None = None,
) -> None:
    """Time the server.

    Args:
        part: what is measured.
        model: a catalogue name or a GGUF file.
        threads: of each side.
        streams: requests that are sent at the same time.
        per_stream: requests of each stream, one after the other.
        repeats: medians are taken over so many.
        only: sides, separated by commas.
        json: also append the figures to this file.
    """
    path, load_before = resolve(model), os.getloadavg()
    sides = [NAMES[name] for name in only.split(",")]
    if part == "ready":
        table = of_starts([side for side in sides if side != IN_PROCESS], path, threads, repeats)
    else:
        lm = load(str(path), num_threads=threads)
        bodies = bodies_of(lm, PROMPT_TOKENS, NEW_TOKENS)
        if part == "overload":
            table = of_overload(path, threads, bodies)
        else:
            with running(sides, path, threads) as servers:
                if part == "streams":
                    ways = {side: _way(servers[side].port if side in servers else None, lm) for side in sides}
                    table = in_turns(ways, bodies, streams, per_stream, repeats)
                else:
                    table = of_mixed_lengths(servers, bodies, bodies_of(lm, LONG_PROMPT, 32))
    print_table(table)
    if json is not None:
        run = {**machine(), "part": part, "threads": threads, "repeats": repeats, "load average before": load_before}
        append(json, {"run": run, "figures": table})


@contextlib.contextmanager
def running(sides: Sequence[str], path: Path, threads: int) -> Iterator[Mapping[str, ServerProcess]]:
    """Start the servers among the sides; end them."""
    servers = {side: ServerProcess(side, path, threads) for side in sides if side != IN_PROCESS}
    try:
        yield servers
    finally:
        for server in servers.values():
            server.close()


def append(file: Path, run: Mapping[str, object]) -> None:
    """Add a run to those of a file."""
    runs = json_format.loads(file.read_text()) if file.exists() else []
    file.write_text(json_format.dumps([*runs, run], indent=2) + "\n")


def _way(port: int | None, lm: LanguageModel) -> Way:
    """Return what runs requests by so many at a time: a server at a port, or the engine in this process."""
    if port is not None:
        return lambda asked, count: of_answers(asyncio.run(by_streams(port, asked, count)))

    def run(asked: Sequence[Body], count: int) -> Figures:
        seconds, num_tokens = in_process(lm, asked, count)
        return {RATE: num_tokens / seconds}

    return run


def in_turns(
    ways: Mapping[str, Way], bodies: Iterator[Body], count: int, per_stream: int, repeats: int
) -> dict[str, Figures]:
    """Return the medians of each side, for so many requests at the same time."""
    for run in ways.values():  # to warm up
        run(take(bodies, count), count)
    found: dict[str, list[Figures]] = {side: [] for side in ways}
    for repeat in range(repeats):
        say(f"{count} streams, {repeat + 1} of {repeats}")
        for side, run in ways.items():
            figures = run(take(bodies, per_stream * count), count)
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


def of_mixed_lengths(
    servers: Mapping[str, ServerProcess], short: Iterator[Body], long: Iterator[Body]
) -> dict[str, Figures]:
    """12 streams of short prompts beside 4 of long ones; meanwhile `/health` is asked, which the event loop answers."""
    table = {}
    for side, server in servers.items():
        say(f"long prompts among short ones: {side}")
        (of_short, of_long), waits = asyncio.run(probed(server.port, _both(server.port, short, long)))
        for length, answers in ((PROMPT_TOKENS, of_short), (LONG_PROMPT, of_long)):
            table[f"prompts of {length} tokens, {side}"] = {**of_answers(answers), LAG: 1e3 * quantile(waits, 0.99)}
    return table


async def _both(port: int, short: Iterator[Body], long: Iterator[Body]) -> tuple[list[Answer], list[Answer]]:
    found = await asyncio.gather(by_streams(port, take(short, 36), 12), by_streams(port, take(long, 8), 4))
    return found[0], found[1]


def of_starts(sides: Sequence[str], path: Path, threads: int, repeats: int) -> dict[str, Figures]:
    """Seconds from the start of a process to its first answer, in turns."""
    found: dict[str, dict[str, list[float]]] = {side: {"cold s": [], "warm s": []} for side in sides}
    for repeat, side, state in itertools.product(range(repeats), sides, ("cold s", "warm s")):
        say(f"{side}, {state[:4]}, {repeat + 1} of {repeats}")
        if state == "cold s":
            forget_pages(path)
        begin = time.perf_counter()
        with running([side], path, threads) as servers:
            while asyncio.run(_health(servers[side].port)) != 200:
                time.sleep(0.01)
            found[side][state].append(time.perf_counter() - begin)
    return {
        f"ready, {side}": {state: statistics.median(values) for state, values in states.items()}
        for side, states in found.items()
    }


async def _health(port: int) -> int:
    return (await ask(port, None, "/health")).status


def of_overload(path: Path, threads: int, bodies: Iterator[Body]) -> dict[str, Figures]:
    """Random arrivals by the rate at which 16 streams are finished; what the queue does not take is refused.

    "queue s": seconds in which what waits in a full queue is finished, at the rate of 16 streams.
    """
    server = ServerProcess(OURS, path, threads, "--max-queue", str(QUEUE))
    try:
        asyncio.run(by_streams(server.port, take(bodies, 16), 16))  # to warm up
        begin = time.perf_counter()
        capacity = len(asyncio.run(by_streams(server.port, take(bodies, 48), 16))) / (time.perf_counter() - begin)
        return {
            f"arrivals at {times} x {capacity:.1f} a second": _of_arrivals(server.port, bodies, times, capacity)
            for times in (0.5, 1.0, 2.0)
        }
    finally:
        server.close()


def _of_arrivals(port: int, bodies: Iterator[Body], times: float, capacity: float) -> Figures:
    say(f"{times} x {capacity:.1f} requests a second")
    answers = asyncio.run(by_chance(port, bodies, per_second=times * capacity, seconds=SECONDS_OF_ARRIVALS))
    refused = [answer for answer in answers if answer.status == 429]
    assert all(answer.status in (200, 429) for answer in answers)
    return {
        **of_answers(answers),
        "refused %": 100 * len(refused) / len(answers),
        "refusal p99 ms": 1e3 * quantile((answer.end - answer.begin for answer in refused), 0.99),
        "queue s": QUEUE / capacity,
    }


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
