"""`Guard`: what happens to every request before and after its route: access, the request's id, faults, one log line."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextword.errors import one_line
from nextword.serving.disconnect import ClientGone
from nextword.serving.errors import ApiError, internal
from nextword.serving.reports import REQUEST_ID
from nextword.serving.security import Access, check_framing, check_size, is_preflight

_LOG = logging.getLogger("nextword.serving")
_MOST_NAMES, _LONGEST_NAME = 16, 64
"""Bounds of the names of ignored fields in a line of the log."""
LONGEST_METHOD = 20
"""Characters of a method that are shown."""
_LONGEST_PATH = 200


class Guard:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp, access: Access, max_header_bytes: int) -> None:
        self._app, self._access, self._max_header_bytes = app, access, max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        given = headers.get("x-request-id", "")
        state["request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        exchange = _Exchange(send, state, headers.get("origin"), self._access)
        try:
            check_size(scope, self._max_header_bytes)
            check_framing(headers)
            self._access.check(scope["method"], scope["path"], headers, scope["query_string"].decode("latin-1"))
            if is_preflight(scope["method"], headers):
                await exchange.allow()
            else:
                await self._app(scope, receive, exchange.send)
        except ApiError as error:
            await exchange.answer(error)
        except ClientGone:
            exchange.status = exchange.status or 499
            scope["app"].state.service.metrics.gone.inc()
        except Exception:
            _LOG.exception("request %s failed", state["request_id"])
            await exchange.answer(internal(state["request_id"]))
        finally:
            scope["app"].state.service.num_body_bytes -= state.get("num_body_bytes", 0)
            _log(scope, state, exchange)


class _Exchange:
    """One response: its status, and the headers that each has."""

    def __init__(self, send: Send, state: MutableMapping[str, Any], origin: str | None, access: Access) -> None:
        self._send, self._state = send, state
        self._origin = origin if access.allows_origin(origin) else None
        self.status = 0
        self.begin = time.monotonic()

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._state["request_id"]
            if self._origin is not None:
                headers["access-control-allow-origin"] = self._origin
                headers["vary"] = "Origin"
        await self._send(message)

    async def allow(self) -> None:
        """Tell a browser what its page may send."""
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type, x-api-key, x-request-id"),
            (b"access-control-max-age", b"600"),
        ]
        await self.send({"type": "http.response.start", "status": 204, "headers": headers})
        await self.send({"type": "http.response.body", "body": b""})

    async def answer(self, error: ApiError) -> None:
        """Send an error, unless a response has begun."""
        if self.status:
            return
        headers, body = error.response()
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _log(scope: Scope, state: MutableMapping[str, Any], exchange: _Exchange) -> None:
    """Write one line about a request, without its text."""
    called = f"{scope['method'][:LONGEST_METHOD]} {scope['path'][:_LONGEST_PATH]}"
    line = f"{state['request_id']} {called} {exchange.status}"
    line += f" {time.monotonic() - exchange.begin:.3f}s"
    job = state.get("job")
    if job is not None:
        line += f" {job.summary()}"
    if ignored := state.get("ignored"):
        line += f" ignored={','.join(name[:_LONGEST_NAME] for name in ignored[:_MOST_NAMES])}"
    _LOG.info("%s", one_line(line))
