"""`EventStream`: an answer as server-sent events, written as the engine makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nextword.inference.sequence import Request
from nextword.serving.disconnect import until_disconnected
from nextword.serving.encoding import to_json
from nextword.serving.errors import ApiError
from nextword.serving.job import Event, Job
from nextword.serving.progress import prompt_progress, timings
from nextword.serving.replies import Reply
from nextword.serving.reports import Reports

PING_SECONDS = 15.0
"""Time without an event after which a comment keeps proxies from closing the connection; at most twice as long."""
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
PING = b": ping\n\n"
_MANY_ENTRIES = 2000
"""Tokens and alternatives whose JSON takes longer to make than the event loop may be busy."""
InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]


class EventStream(Response):
    """Writes chunks as events. A client that goes ends the job; the connection ends for one that does not read."""

    def __init__(self, job: Job, reply: Reply, reports: Reports, in_thread: InThread) -> None:
        super().__init__(headers=HEADERS)
        self._in_thread = in_thread
        self._job, self._reply, self._reports = job, reply, reports
        self._is_silent = self._is_ping_due = False
        self._begun: set[int] = set()
        """Numbers of the completions of which something is written: the first chunk of each may show its prompt."""
        self._num_processed: int | None = None
        """Tokens of the prompt that were reported as computed."""
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the response."""
        self._listen()
        try:
            await until_disconnected(receive, self._write(send))
        finally:
            self._job.cancel()
            if self._timer is not None:
                self._timer.cancel()

    def _listen(self) -> None:
        """Ask for a comment if nothing was written since the last call, and call again."""
        if self._is_silent:
            self._is_ping_due = True
            self._job.nudge()
        self._is_silent = True
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._listen)

    async def _write(self, send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for data in self._events():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[bytes]:
        """Yield what is written, comments in times of silence included."""
        yield encoded(self._reply.opening())
        try:
            while (events := await self._job.next_events()) is not None:
                progress = encoded(self._progress()) if self._job.tells_progress else b""
                if data := progress + await self._encoded(events) + self._ping():
                    self._is_silent = False
                    yield data
            yield self._timed(self._reply.closing())
        except ApiError as error:
            yield encoded(self._reply.failing(error))
        yield self._reply.last_event

    async def _encoded(self, events: Sequence[Event]) -> bytes:
        """Return events as chunks; a thread makes those of many tokens, such as of a prompt that is echoed."""

        def work() -> bytes:
            return self._timed(chunk for event in events for chunk in self._reply.chunks(*event))

        num_entries = sum(1 + len(token.alternatives) for _, piece in events for token in piece.tokens)
        if new := {number for number, _ in events} - self._begun:
            self._begun |= new
            num_entries += sum(_entries_of_prompt(request) for request in self._job.requests)
        return await self._in_thread(work) if num_entries > _MANY_ENTRIES else work()

    def _timed(self, chunks: Iterable[dict[str, Any]]) -> bytes:
        """Return chunks as events, with times where they are asked for."""
        if self._reports.timings_per_token:
            chunks = ({**chunk, "timings": timings(self._job)} for chunk in chunks)
        return encoded(chunks)

    def _progress(self) -> Iterator[dict[str, Any]]:
        """Yield the chunks of progress since the last; the first says what an earlier request had left."""
        found = prompt_progress(self._job)
        if self._num_processed is None and found["processed"]:
            self._num_processed = found["cache"]
            yield from self._reply.progress({**found, "processed": found["cache"]})
        if self._num_processed is not None and found["processed"] > self._num_processed:
            self._num_processed = found["processed"]
            yield from self._reply.progress(found)

    def _ping(self) -> bytes:
        """Return a comment if one is due."""
        is_due, self._is_ping_due = self._is_ping_due, False
        return PING if is_due else b""


def _entries_of_prompt(request: Request) -> int:
    """Return how many tokens and alternatives the first chunk shows of the prompt."""
    return len(request.prompt_token_ids) * (1 + (request.params.logprobs or 0)) if request.params.echo else 0


def encoded(chunks: Iterable[dict[str, Any]]) -> bytes:
    """Return chunks as events."""
    return b"".join(_name(chunk) + b"data: " + to_json(chunk) + b"\n\n" for chunk in chunks)


def _name(chunk: dict[str, Any]) -> bytes:
    """Return the line that names an event, which those of `/v1/responses` have."""
    return b"event: " + chunk["type"].encode() + b"\n" if "type" in chunk else b""
