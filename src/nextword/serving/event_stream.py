"""`EventStream`: an answer as server-sent events, written as the engine makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nextword.serving.disconnect import until_disconnected
from nextword.serving.encoding import to_json
from nextword.serving.errors import ApiError
from nextword.serving.job import Job
from nextword.serving.replies import Reply

PING_SECONDS = 15.0
"""Time without an event after which a comment keeps proxies from closing the connection; at most twice as long."""
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
PING = b": ping\n\n"


class EventStream(Response):
    """Writes chunks as events. A client that goes ends the job; the connection ends for one that does not read."""

    def __init__(self, job: Job, reply: Reply) -> None:
        super().__init__(headers=HEADERS)
        self._job, self._reply = job, reply
        self._is_silent = False
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
                self._is_silent = False
                chunks = (chunk for event in events for chunk in self._reply.chunks(*event))
                yield encoded(chunks) if events else PING
            yield encoded(self._reply.closing())
        except ApiError as error:
            yield encoded(self._reply.failing(error))
        yield self._reply.last_event


def encoded(chunks: Iterable[dict[str, Any]]) -> bytes:
    """Return chunks as events."""
    return b"".join(_name(chunk) + b"data: " + to_json(chunk) + b"\n\n" for chunk in chunks)


def _name(chunk: dict[str, Any]) -> bytes:
    """Return the line that names an event, which those of `/v1/responses` have."""
    return b"event: " + chunk["type"].encode() + b"\n" if "type" in chunk else b""
