"""Load for `serving`: requests over plain HTTP, many at once, and the times at which their answers arrive.

One process asks for everything by sockets of its own: client libraries would take more of the processor.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Body = Mapping[str, Any]


@dataclass
class Answer:
    """Times of one request, in seconds of `time.perf_counter`, and what came."""

    begin: float
    arrivals: list[float] = field(default_factory=list)
    """Times at which text came; several tokens that came together count once."""
    end: float = 0.0
    data: bytes = b""

    @property
    def status(self) -> int:
        """Status of HTTP; 0 for a connection that was closed without an answer."""
        return int(self.data[9:12] or 0)

    @property
    def num_tokens(self) -> int:
        """Tokens of the completion, as the usage in the last chunk says."""
        found = re.findall(rb'"completion_tokens":(\d+)', self.data)
        return int(found[-1]) if found else 0

    @property
    def text(self) -> str:
        """Text of all chunks together."""
        lines = re.findall(rb"^data: (\{.*)$", self.data, re.MULTILINE)
        choices = [choice for line in lines for choice in json.loads(line).get("choices", ())]
        return "".join(choice["text"] for choice in choices)

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.arrivals[0] - self.begin

    @property
    def gaps(self) -> list[float]:
        """Seconds between tokens."""
        return [after - before for before, after in zip(self.arrivals, self.arrivals[1:], strict=False)]


class _Exchange(asyncio.Protocol):
    """A connection of one request, which the server closes."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._parts: list[bytes] = []
        self.answer = Answer(time.perf_counter())
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take note of the time at which text comes."""
        self._parts.append(data)
        if b'"finish_reason":null' in data:
            self.answer.arrivals.append(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.answer.end = time.perf_counter()
        self.answer.data = b"".join(self._parts)
        if not self.closed.done():
            self.closed.set_result(None)


async def ask(port: int, body: Body | bytes | None, path: str = "/v1/completions") -> Answer:
    """Send a request with a body, as JSON or as its bytes, or a GET without one, and wait for the end of its answer."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if data:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    exchange = _Exchange(head.encode() + b"\r\n" + data)
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: exchange, "127.0.0.1", port)
    try:
        await exchange.closed
    finally:
        transport.abort()
    return exchange.answer


async def by_streams(port: int, bodies: Iterable[Body], num_streams: int) -> list[Answer]:
    """Send requests, so many at the same time; each that ends makes place for the next."""
    left = iter(bodies)

    async def stream() -> list[Answer]:
        return [await ask(port, body) for body in left]

    found = await asyncio.gather(*(stream() for _ in range(num_streams)))
    return [answer for of_stream in found for answer in of_stream]


async def by_chance(port: int, bodies: Iterable[Body], *, per_second: float, seconds: float) -> list[Answer]:
    """Send requests at random times, a Poisson process, whether or not those before have ended."""
    draw, left, tasks = random.Random(0), iter(bodies), []
    begin = due = time.perf_counter()
    while (due := due + draw.expovariate(per_second)) < begin + seconds:
        await asyncio.sleep(due - time.perf_counter())
        tasks.append(asyncio.ensure_future(ask(port, next(left))))
    return await asyncio.gather(*tasks)


async def probed(port: int, work: Coroutine[Any, Any, T], every: float = 0.02) -> tuple[T, list[float]]:
    """Wait for work; meanwhile ask `/health` again and again, and return the seconds that its answers took."""
    task = asyncio.ensure_future(work)
    seconds = []
    while not task.done():
        health = await ask(port, None, "/health")
        seconds.append(health.end - health.begin)
        await asyncio.sleep(every)
    return await task, seconds


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which this share lies; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def numbered(bodies: Iterator[Body]) -> Iterator[Body]:
    """Yield the bodies, each with a seed of its own."""
    return ({**body, "seed": number} for number, body in enumerate(bodies))
