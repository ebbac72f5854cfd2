"""`while_loading`: the port answers before the model is there, so that probes and clients know what to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

from nextword.serving.errors import loading

_SECONDS = 2.0
"""Time in which a request's headers must arrive."""


@contextlib.contextmanager
def while_loading(bound: socket.socket) -> Iterator[None]:
    """Answer every request on a bound socket with status 503 and Retry-After, in a thread, until the block ends.

    What connects afterwards waits for whoever listens next.
    """
    bound.listen()
    loop = asyncio.new_event_loop()
    listening = bound.dup()
    thread = threading.Thread(target=_serve, args=(loop, listening), name="nextword-loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _serve(loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
    asyncio.set_event_loop(loop)
    starting = loop.create_task(asyncio.start_server(_answer, sock=listening))
    try:
        loop.run_forever()
    finally:
        # The block may have ended before the server has started.
        loop.run_until_complete(starting).close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS)
        headers, body = loading().response()
        lines = [b"HTTP/1.1 503 Service Unavailable", *(b": ".join(pair) for pair in headers), b"connection: close"]
        writer.write(b"\r\n".join([*lines, b"", body]))
        await asyncio.wait_for(writer.drain(), _SECONDS)
    writer.close()
