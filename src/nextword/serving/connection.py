"""`connection_class`: connections of HTTP/1.1 that no client can hold by sending or reading nothing.

uvicorn bounds the time between two requests; the time of a request's headers, and of answers that are not read, is
bounded here. What is answered before a route is known has the form of all errors.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from nextword.serving.errors import ApiError, too_many_connections
from nextword.serving.limits import Limits

_CLOSE = (b"connection", b"close")


def connection_class(limits: Limits) -> type[asyncio.Protocol]:
    """Return the class of connections under these limits."""
    return type("LimitedConnection", (_Connection,), {"limits": limits})


class _Connection(H11Protocol):
    limits: Limits
    _read_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self.app = _refuse_connection
        self._read_timer = self.loop.call_later(self.limits.read_timeout, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop("_read_timer")
        self._stop("_write_timer")
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what has arrived; it must become a whole request in time, and no more may come after an answer."""
        super().handle_events()
        if self.transport.is_closing():
            return
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._stop("_read_timer")
        elif self._read_timer is None and not self._is_between_requests:
            self._read_timer = self.loop.call_later(self.limits.read_timeout, self.transport.abort)

    @property
    def _is_between_requests(self) -> bool:
        """True while nothing of a next request has arrived: uvicorn's own timer runs."""
        return self.timeout_keep_alive_task is not None

    def pause_writing(self) -> None:
        """Give the client time to read what was written."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stop("_write_timer")
        super().resume_writing()

    def _stop(self, name: Literal["_read_timer", "_write_timer"]) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun."""
        has_begun = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not has_begun:
            error = ApiError("this is no request of HTTP/1.1, or its headers are too long")
            headers, body = error.response()
            head = h11.Response(status_code=error.status, headers=[*headers, _CLOSE])
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer on a connection beyond the limit: an ASGI application."""
    error = too_many_connections()
    headers, body = error.response()
    await send({"type": "http.response.start", "status": error.status, "headers": [*headers, _CLOSE]})
    await send({"type": "http.response.body", "body": body})
