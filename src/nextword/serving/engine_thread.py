"""`EngineThread`: the one thread that runs the engine; the event loop talks to it by an inbox and never waits for it.

Orders go in by a queue that is emptied before each step. What steps have made goes back to the event loop in one call,
not after each: every wake-up of the loop, and every write to a socket, takes time from the cores that compute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from nextword.errors import NextwordError, RequestError
from nextword.inference.engine import Engine
from nextword.inference.sequence import Request, TextPiece
from nextword.serving.errors import ApiError, internal, not_running, overloaded, refusal, shutting_down

T = TypeVar("T")

_LOG = logging.getLogger("nextword.serving")
_MOST_FAILURES = 3
"""Failed steps in a row after which the engine counts as broken."""
_REPORT_SECONDS = 0.02
"""Time that text may wait for that of the next steps: too short to be seen. First texts and ends never wait."""


@dataclass(frozen=True)
class Update:
    """News of a request since the last update."""

    pieces: tuple[TextPiece, ...] = ()
    has_started: bool = False
    is_finished: bool = False
    error: ApiError | None = None


class Tracked:
    """A request of the engine, and the function of the event loop that is told how it goes."""

    def __init__(self, request: Request, request_id: str, on_update: Callable[[Update], None]) -> None:
        self.request = request
        self.request_id = request_id
        self.on_update = on_update
        self.was_started = False
        self.has_text = False
        """True once the event loop has its first text."""
        self.error: ApiError | None = None
        """Error that the thread gives in the place of the request's own."""


class EngineThread:
    """Runs the engine's steps. Its methods are for the event loop, and return at once."""

    def __init__(
        self,
        engine: Engine,
        *,
        on_step: Callable[[], None] = lambda: None,
        count_step: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_step`: called on the event loop with the news of some steps; `count_step`: in the thread, for each."""
        self._engine = engine
        self._on_step, self._count_step = on_step, count_step
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._tracked: dict[Request, Tracked] = {}
        self._jobs: deque[_Job] = deque()
        self._is_ending = self._has_ended = False
        self._inbox_lock = threading.Lock()
        """Guards the inbox against orders that come after its end, which nobody would carry out; held for no work."""
        self._failures = 0
        self._next_report = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="nextword-engine", daemon=True)

    @property
    def has_ended(self) -> bool:
        """True once no order is carried out any more."""
        return self._has_ended

    @property
    def is_alive(self) -> bool:
        """True while requests can be computed."""
        return self._thread.is_alive() and self._failures < _MOST_FAILURES

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; updates go to this event loop."""
        self._loop = loop
        self._thread.start()

    def submit(self, tracked: Tracked) -> None:
        """Let the engine run a request that it has prepared. Raises ApiError if the thread has ended."""
        self._order(lambda: self._add(tracked))

    def cancel(self, tracked: Tracked, error: ApiError | None = None) -> None:
        """End a request in whatever state it is; `error`: the reason, if its reader is to have one."""
        with contextlib.suppress(ApiError):  # all requests have ended with the thread
            self._order(lambda: self._cancel(tracked, error))

    def work(self, pieces: Callable[[], Iterable[T]]) -> asyncio.Future[list[T]]:
        """Compute something that runs the model besides the requests, one piece between two steps.

        Raises ApiError if the thread has ended.
        """
        assert self._loop is not None
        future: asyncio.Future[list[T]] = self._loop.create_future()
        job = _Job(pieces, future, self._loop)
        self._order(lambda: self._jobs.append(job))
        return future

    def stop(self) -> None:
        """End the thread after the current step; its requests end with an error."""
        with contextlib.suppress(ApiError):
            self._order(self._end)

    def join(self, timeout: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout)

    def _order(self, order: Callable[[], None]) -> None:
        with self._inbox_lock:
            if self._has_ended:
                raise not_running()
            self._inbox.put(order)

    # In the thread

    def _run(self) -> None:
        try:
            while self._take_orders():
                if self._tracked:
                    self._step()
                    self._report()
                if self._jobs and (job := self._jobs.popleft()).advance():
                    self._count_step()
                    self._jobs.append(job)
        except BaseException:
            _LOG.exception("the engine's thread has ended")
        finally:
            self._end_all()

    def _take_orders(self) -> bool:
        """Carry out what is in the inbox, waiting if nothing runs; return False after the order to end."""
        if not self._tracked and not self._jobs:
            self._inbox.get()()
        with contextlib.suppress(queue.Empty):
            while True:
                self._inbox.get_nowait()()
        return not self._is_ending

    def _add(self, tracked: Tracked) -> None:
        self._tracked[tracked.request] = tracked
        self._engine.add(tracked.request)

    def _cancel(self, tracked: Tracked, error: ApiError | None) -> None:
        if tracked.request in self._tracked:
            tracked.error = error
            self._engine.cancel(tracked.request)
            self._report()

    def _end(self) -> None:
        self._is_ending = True

    def _step(self) -> None:
        self._count_step()
        try:
            self._engine.step()
            self._failures = 0
        except RequestError as error:  # of memory; the step has changed nothing
            if not self._end_youngest(overloaded(f"memory is lacking: {error}")):
                raise
        except Exception:
            self._failures += 1
            _LOG.exception("a step failed: requests %s", ", ".join(one.request_id for one in self._tracked.values()))
            for tracked in self._tracked.values():
                if tracked.request.is_finished and tracked.request.error is not None:
                    tracked.error = internal(tracked.request_id)

    def _end_youngest(self, error: ApiError) -> bool:
        """End the request that has started last; return False if none runs."""
        running = [tracked for tracked in self._tracked.values() if tracked.request.has_started]
        if not running:
            return False
        running[-1].error = error
        self._engine.cancel(running[-1].request)
        return True

    def _report(self) -> None:
        """Tell the event loop what is new, unless it can wait."""
        now = time.monotonic()
        if now < self._next_report and not any(_is_urgent(tracked) for tracked in self._tracked.values()):
            return
        self._next_report = now + _REPORT_SECONDS
        updates = [(tracked, update) for tracked in self._tracked.values() if (update := _update(tracked)) is not None]
        for tracked, update in updates:
            if update.is_finished:
                del self._tracked[tracked.request]
        self._tell(updates)

    def _end_all(self) -> None:
        """End whatever runs or waits: the thread ends."""
        with self._inbox_lock:
            self._has_ended = True
        while not self._inbox.empty():
            with contextlib.suppress(Exception):  # of an engine that is broken; what waits is told below
                self._inbox.get_nowait()()
        for job in self._jobs:
            job.fail(not_running())
        for tracked in self._tracked.values():
            error = shutting_down() if self._is_ending else internal(tracked.request_id)
            with contextlib.suppress(Exception):
                self._engine.cancel(tracked.request)
            pieces = tuple(tracked.request.pieces)
            self._tell([(tracked, Update(pieces, is_finished=True, error=tracked.error or error))])
        self._tracked.clear()

    def _tell(self, updates: list[tuple[Tracked, Update]]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the event loop has ended before the thread
            self._loop.call_soon_threadsafe(self._hear, updates)

    # On the event loop

    def _hear(self, updates: list[tuple[Tracked, Update]]) -> None:
        for tracked, update in updates:
            tracked.on_update(update)
        self._on_step()


def _is_urgent(tracked: Tracked) -> bool:
    """Return True if somebody waits for the news of a request: that it runs, its first text, its end."""
    request = tracked.request
    is_first_text = bool(request.pieces) and not tracked.has_text
    return request.is_finished or is_first_text or request.has_started != tracked.was_started


def _update(tracked: Tracked) -> Update | None:
    """Return what is new about a request; None if nothing is."""
    request = tracked.request
    is_finished = request.is_finished  # before its pieces: another thread may be adding the last
    pieces = tuple(request.pieces.popleft() for _ in range(len(request.pieces)))
    has_started = request.has_started and not tracked.was_started
    tracked.was_started = request.has_started
    tracked.has_text = tracked.has_text or bool(pieces)
    error = tracked.error or (None if request.error is None else refusal(request.error))
    if not (pieces or has_started or is_finished):
        return None
    return Update(pieces, has_started, is_finished, error if is_finished else None)


class _Job:
    """Work in pieces besides requests, whose results become those of a future of the event loop."""

    def __init__(
        self, pieces: Callable[[], Iterable[T]], future: asyncio.Future[list[T]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._make, self._future, self._loop = pieces, future, loop
        self._pieces: Iterator[T] | None = None
        self._done: list[T] = []

    def advance(self) -> bool:
        """Do one piece; return False after the last, or if nobody waits for it any more."""
        if self._future.cancelled():
            self._stop()
            return False
        try:
            self._pieces = iter(self._make()) if self._pieces is None else self._pieces
            self._done.append(next(self._pieces))
        except StopIteration:
            self._settle(lambda: self._future.set_result(self._done))
            return False
        except Exception as error:
            if not isinstance(error, NextwordError):
                _LOG.exception("a computation failed")
            self.fail(refusal(error) if isinstance(error, NextwordError) else error)
            return False
        return True

    def _stop(self) -> None:
        """Let the pieces give back what they hold."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()

    def fail(self, error: Exception) -> None:
        """Let the one who waits have an error."""
        self._settle(lambda: self._future.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: None if self._future.done() else settle())
