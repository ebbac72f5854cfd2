"""`run`: a service behind a socket, until a signal ends it: requests that run are finished first."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import uvicorn
from starlette.routing import Route

from nextword.errors import RequestError, os_reason
from nextword.serving.app import make_app
from nextword.serving.connection import connection_class
from nextword.serving.errors import shutting_down
from nextword.serving.security import Access
from nextword.serving.service import Service
from nextword.serving.while_loading import while_loading

_LAST_WORDS = 2
"""Seconds in which a request that is ended can still write its error."""
_LONGEST_BACKLOG = 1024
_HIGHEST_PORT = 65_535


class Server(uvicorn.Server):
    """Ends in the order that clients want: no new requests, then the running ones, then the engine."""

    def __init__(
        self,
        service: Service,
        access: Access,
        on_ready: Callable[[], None] = lambda: None,
        *,
        routes: Sequence[Route] = (),
    ) -> None:
        limits = service.limits
        config = uvicorn.Config(
            make_app(service, access, routes=routes),
            http=connection_class(limits),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",  # what it warns of, no HTTP and upgrades that are not made, any client can send
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_LONGEST_BACKLOG,
            h11_max_incomplete_event_size=limits.max_header_bytes,
            timeout_graceful_shutdown=round(limits.drain) + _LAST_WORDS,
        )
        super().__init__(config)
        self._service, self._on_ready = service, on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_hurried = False
        """True after a second signal."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at a signal; at the second one, at once."""
        self._is_hurried = self.should_exit  # uvicorn's force_exit would leave the engine running
        self.end()

    def end(self) -> None:
        """Take no new requests; those that run have until `drain` to end. May be called from any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._service.end()
        loop = asyncio.get_running_loop()
        if self._is_hurried:
            self._service.end_jobs(shutting_down())
            loop.call_later(_LAST_WORDS, self._abort)
        else:
            loop.call_later(self._service.limits.drain, lambda: self._service.end_jobs(shutting_down()))

    def _abort(self) -> None:
        """Close the connections whose clients do not read."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address. Raises RequestError if it is taken or is none."""
    if not 0 <= port <= _HIGHEST_PORT:  # getaddrinfo would take it modulo 2^16
        raise RequestError(f"port = {port}: must be from 0, for any free one, to {_HIGHEST_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise RequestError(f"host = {host!r}: is no address of this machine: {os_reason(error)}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise RequestError(f"port = {port}: cannot be opened on {host}: {os_reason(error)}") from None
    return bound


def run(
    open_service: Callable[[], Service],
    bound: socket.socket,
    access: Access,
    on_ready: Callable[[], None],
    *,
    routes: Sequence[Route] = (),
) -> None:
    """Open a service, serve it on a bound socket until a signal comes, and close that.

    `routes`: those beside the server's own.
    """
    with contextlib.closing(bound):
        with while_loading(bound):
            service = open_service()
        _log_to_stderr()
        with _without_searches_of_the_model():
            Server(service, access, on_ready, routes=routes).run(sockets=[bound])


@contextlib.contextmanager
def _without_searches_of_the_model() -> Iterator[None]:
    """Take what is there now out of the garbage collector's searches: each stops all threads for some 30 ms."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _log_to_stderr() -> None:
    """Let each request have its line on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("nextword.serving")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


class ServerThread:
    """A server in a thread of its own, for programs that do something else as well: a context manager.

    `url` is its address.
    """

    def __init__(
        self,
        service: Service,
        access: Access | None = None,
        *,
        host: str = "127.0.0.1",
        routes: Sequence[Route] = (),
    ) -> None:
        """Bind a free port; the server starts with the `with` block."""
        self._socket = listen(host, 0)
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        self._is_ready = threading.Event()
        self.server = Server(service, access or Access(), self._is_ready.set, routes=routes)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> ServerThread:
        self._thread.start()
        self._is_ready.wait(30.0)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.end()
        self._thread.join(60.0)
