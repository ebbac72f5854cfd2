"""Is the server's event loop busy for long with anything that a client may send? `/health` is asked meanwhile.

    python -m benchmarks.serving_lag [--model smollm2-135m] [--threads N] [--seconds 4] [--kinds 0 1 2]

16 streams run all the time, and beside them requests of one kind, one after the other. The bar for the time of an
answer of `/health`, p99: 20 ms. Beside it the pauses between two texts of a stream, p99. Prints a table.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator

import tyro

from benchmarks.serving import LAG, Figures, print_table
from benchmarks.serving_load import Answer, Body, ask, by_streams, probed, quantile
from benchmarks.serving_sides import OURS, ServerProcess, bodies_of
from nextword.checkpoints.catalogue import resolve
from nextword.inference.native_backend import num_cores
from nextword.loading import load

STREAMS = 16
_WORDS = "The mill by the river stood for 300 years, and its wheel turned slowly. "
_CHAT = [{"role": "user", "content": "Name a colour."}]
KINDS: dict[str, tuple[str, Body]] = {
    "nothing": ("/tokenize", {"prompt": "a"}),
    "/tokenize, 1 MB of text": ("/tokenize", {"prompt": _WORDS * 14_000}),
    "prompt of 1 MB, refused": ("/v1/completions", {"prompt": _WORDS * 14_000, "max_tokens": 1}),
    "8 MB of token ids": ("/v1/completions", {"prompt": [[1000 + i % 40_000 for i in range(8000)]] * 150}),
    "8 MB of short strings": ("/v1/completions", {"prompt": ["a"] * 1_600_000}),
    "n = 8, 20 log-probabilities": (
        "/v1/chat/completions",
        {"messages": _CHAT, "n": 8, "max_tokens": 200, "logprobs": True, "top_logprobs": 20},
    ),
    "echo of 1,500 tokens, 20 log-probabilities, streamed": (
        "/v1/completions",
        {"prompt": _WORDS * 90, "echo": True, "logprobs": 20, "max_tokens": 1, "stream": True},
    ),
    "half of the vocabulary allowed": (
        "/v1/completions",
        {"prompt": "a", "allowed_token_ids": list(range(25_000)), "max_tokens": 30, "n": 4},
    ),
    "/v1/score, 100 continuations": (
        "/v1/score",
        {"prompt": _WORDS * 20, "continuations": [_WORDS + str(number) for number in range(100)]},
    ),
    "/v1/distribution, 64 positions": (
        "/v1/distribution",
        {"prompt": _WORDS * 60, "at": list(range(10, 906, 14)), "top": 200},
    ),
}


def main(
    model: str = "smollm2-135m", threads: int = num_cores(), seconds: float = 4.0, kinds: tuple[int, ...] = ()
) -> None:
    """Ask for everything that takes long.

    Args:
        model: a catalogue name or a GGUF file.
        threads: of the engine.
        seconds: for each kind of requests.
        kinds: numbers of the kinds, from 0; none: all.
    """
    chosen = [list(KINDS)[number] for number in kinds or range(len(KINDS))]
    path = resolve(model)
    bodies = bodies_of(load(str(path), num_threads=threads), 64, 64)
    server = ServerProcess(OURS, path, threads)
    try:
        print_table({name: asyncio.run(_figures(server.port, bodies, *KINDS[name], seconds)) for name in chosen})
    finally:
        server.close()


async def _figures(port: int, bodies: Iterator[Body], path: str, body: Body, seconds: float) -> Figures:
    data, end = json.dumps(body).encode(), time.perf_counter() + seconds
    until_end = itertools.takewhile(lambda _: time.perf_counter() < end, bodies)

    async def beside() -> list[Answer]:
        answers = []
        while time.perf_counter() < end:
            answers.append(await ask(port, data, path))
            await asyncio.sleep(0.02)
        return answers

    (streams, others), waits = await probed(port, _both(by_streams(port, until_end, STREAMS), beside()))
    assert all(answer.status in (200, 400) for answer in [*streams, *others]), {answer.status for answer in others}
    gaps = [gap for answer in streams for gap in answer.gaps]
    return {
        LAG: 1e3 * quantile(waits, 0.99),
        "/health most ms": 1e3 * max(waits),
        "texts p99 ms": 1e3 * quantile(gaps, 0.99),
        "answers": len(others),
        "seconds of each": sum(answer.end - answer.begin for answer in others) / len(others),
    }


async def _both(streams: object, others: object) -> tuple[list[Answer], list[Answer]]:
    first, second = await asyncio.gather(streams, others)  # type: ignore[call-overload]
    return first, second


if __name__ == "__main__":
    tyro.cli(main)
