"""Does the server's memory grow with the requests that it has served? All kinds of requests, whose client may go.

    python -m benchmarks.serving_soak [--model smollm2-135m] [--requests 10000] [--threads N]

16 are sent at a time. The bar: after the first tenth, resident memory grows by 5 MB at most. Prints a line for each
tenth, and ends with status 1 if the bar is missed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import tyro

from benchmarks.serving_load import Body, ask, by_streams
from benchmarks.serving_sides import OURS, ServerProcess
from nextword.checkpoints.catalogue import resolve
from nextword.inference.native_backend import num_cores

BAR = 5e6


def main(model: str = "smollm2-135m", requests: int = 10_000, threads: int = num_cores()) -> None:
    """Look for memory that is not given back.

    Args:
        model: a catalogue name or a GGUF file.
        requests: in all.
        threads: of the engine.
    """
    server = ServerProcess(OURS, resolve(model), threads)
    sizes = []
    for tenth in range(10):
        asyncio.run(some(server.port, tenth * requests // 10, requests // 10))
        sizes.append(server.resident_bytes)
        print(f"{(tenth + 1) * requests // 10:8,} requests {sizes[-1] / 1e6:10.1f} MB", flush=True)
    server.close()
    growth = sizes[-1] - sizes[0]
    print(f"growth {growth / 1e6:.1f} MB, bar {BAR / 1e6:.0f} MB: {'met' if growth <= BAR else 'missed'}")
    sys.exit(growth > BAR)


async def some(port: int, first: int, count: int) -> None:
    """Send requests of all kinds; of every tenth the client goes before the answer."""
    going = asyncio.gather(*(_leave(port, {**body, "max_tokens": 400}) for body in bodies(first, count // 10)))
    answers = await by_streams(port, bodies(first, count - count // 10), 16)
    await going
    found = {answer.status for answer in answers}
    assert found == {200, 400}, f"answers with status {sorted(found)}"


async def _leave(port: int, body: Body) -> None:
    try:
        async with asyncio.timeout(0.2):
            await ask(port, body)
    except TimeoutError:
        pass


def bodies(first: int, count: int) -> Iterator[Body]:
    """Yield completions, streamed or not, some with log-probabilities and several texts, some with unknown fields."""
    for number in range(first, first + count):
        body: Body = {"prompt": f"Number {number} is", "max_tokens": 4, "seed": number, "stream": number % 2 == 0}
        kinds: list[Body] = [{}, {"logprobs": 3}, {"n": 2}, {"no_such_field": number}]
        yield {**body, **kinds[number // 2 % len(kinds)]}


if __name__ == "__main__":
    tyro.cli(main)
