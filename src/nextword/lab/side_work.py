"""`SideWork`: computations of many steps, one at a time, beside the event loop and the engine's thread.

The engine takes steps of several threads in turn, so texts that are written meanwhile go on, and are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request

from nextword.errors import NextwordError
from nextword.serving.disconnect import until_disconnected
from nextword.serving.errors import refusal, too_late
from nextword.serving.service import Service

T = TypeVar("T")
Check = Callable[[], None]
"""Function that a computation calls now and then; it raises once nobody waits for the result any more."""


class _GivenUp(Exception):  # noqa: N818 -- no error: nobody is there to be told
    """The client has gone, or its time is up."""


class SideWork:
    """Runs one computation after the other. Lives on the event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, service: Service, request: Request, work: Callable[[Check], T]) -> T:
        """Return the result of the work. Raises ApiError where the library refuses, or after the deadline."""
        try:
            async with asyncio.timeout(service.limits.deadline):
                return await until_disconnected(request.receive, self._in_turn(work))
        except TimeoutError:
            raise too_late(service.limits.deadline) from None
        except NextwordError as error:
            raise refusal(error) from None

    async def _in_turn(self, work: Callable[[Check], T]) -> T:
        async with self._turn:
            future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            is_given_up = threading.Event()

            def check() -> None:
                if is_given_up.is_set():
                    raise _GivenUp

            # a daemon: a long computation does not keep the server from ending
            threading.Thread(target=_settle, args=(future, lambda: work(check)), daemon=True).start()
            try:
                return await future
            finally:
                is_given_up.set()


def _settle(future: asyncio.Future[Any], work: Callable[[], Any]) -> None:
    """Do the work in this thread; give its result or its error to the event loop."""
    loop = future.get_loop()
    try:
        result = work()
        settle: Callable[[], None] = lambda: future.set_result(result)  # noqa: E731
    except Exception as raised:
        error = raised
        settle = lambda: future.set_exception(error)  # noqa: E731
    with contextlib.suppress(RuntimeError):  # the event loop has ended
        loop.call_soon_threadsafe(lambda: None if future.done() else settle())
