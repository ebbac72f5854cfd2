"""`Job`: the prompts of one HTTP request while the engine runs them, as the event loop sees them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence

from nextword.inference.sequence import Request, TextPiece
from nextword.serving.admission import Admission
from nextword.serving.engine_thread import EngineThread, Tracked, Update
from nextword.serving.errors import ApiError, too_late

Event = tuple[int, TextPiece]
"""Index of a prompt, and text that was added to one of its completions."""


class Job:
    """Submits prepared requests, yields what they generate, and ends them when their reader goes or time is up."""

    def __init__(
        self,
        thread: EngineThread,
        admission: Admission,
        requests: Sequence[Request],
        *,
        request_id: str,
        on_finish: Callable[[Job], None] = lambda job: None,
    ) -> None:
        """Submit the requests. Raises ApiError with status 429 if the queue is full."""
        sizes = [(request.params.width, len(request.prompt_token_ids)) for request in requests]
        admission.check(sum(n for n, _ in sizes), sum(length for _, length in sizes))
        self.request_id = request_id
        self.requests = requests
        self.begin = time.monotonic()
        self.started: float | None = None
        """Time at which the first request began to run."""
        self.first_token: float | None = None
        """Time of the first text."""
        self.error: ApiError | None = None
        self.tells_progress = False
        """True if its reader is to hear of each step of its prompts."""
        self._on_finish = on_finish
        self._timer: asyncio.TimerHandle | None = None
        self._thread = thread
        self._events: list[Event] = []
        self._news = asyncio.Event()
        self._is_nudged = False
        self._num_left = len(requests)
        self._places = [admission.enter(*size) for size in sizes]
        ends = itertools.accumulate(length for _, length in sizes)
        for request, (_, length), end in zip(requests, sizes, ends, strict=True):
            request.num_tokens_ahead = end - length
        self._tracked = [self._track(index, request) for index, request in enumerate(requests)]
        for tracked in self._tracked:
            thread.submit(tracked)

    @property
    def is_finished(self) -> bool:
        """True once nothing of it runs any more."""
        return self._num_left == 0

    @property
    def num_waiting(self) -> int:
        """Number of its prompts that wait."""
        return sum(not place.is_left for place in self._places)

    @property
    def num_running(self) -> int:
        """Number of its prompts that run."""
        return self._num_left - self.num_waiting

    async def next_events(self) -> list[Event] | None:
        """Return what was generated since, waiting for it; None after the last, [] after a `nudge`.

        Raises the error of the first request that ended with one.
        """
        while not self._events:
            if self.error is not None:
                raise self.error
            if self.is_finished:
                return None
            if self._is_nudged:
                break
            self._news.clear()
            await self._news.wait()
        self._is_nudged = False
        events, self._events = self._events, []
        return events

    def nudge(self) -> None:
        """Let `next_events` return although there is nothing: a time-out of its own for each token would cost more."""
        self._is_nudged = True
        self._news.set()

    def cancel(self, error: ApiError | None = None) -> None:
        """End what still runs; `error`: for the reader."""
        if not self.is_finished:
            for tracked in self._tracked:
                self._thread.cancel(tracked, error)

    def expire_after(self, seconds: float) -> None:
        """End what still runs after so many seconds."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, lambda: self.cancel(too_late(seconds)))

    def summary(self) -> str:
        """Return sizes and times for a log line."""
        num_prompt = sum(len(request.prompt_token_ids) for request in self.requests)
        num_tokens = sum(len(sequence.tokens) for request in self.requests for sequence in request.sequences)
        line = f"prompt={num_prompt} completion={num_tokens}"
        if self.first_token is not None:
            seconds = time.monotonic() - self.first_token
            line += f" ttft={self.first_token - self.begin:.3f}s rate={num_tokens / max(seconds, 1e-3):.1f}/s"
        return line

    def _track(self, index: int, request: Request) -> Tracked:
        return Tracked(request, self.request_id, lambda update: self._hear(index, update))

    def _hear(self, index: int, update: Update) -> None:
        now = time.monotonic()
        if update.has_started or update.is_finished:
            self._places[index].leave(is_served=update.has_started)
        if update.has_started and self.started is None:
            self.started = now
        if update.pieces and self.first_token is None:
            self.first_token = now
        if update.is_finished:
            self._finish_one()
        if update.error is not None and self.error is None:
            self.error = update.error
            self.cancel()
        self._events += [(index, _without_cancellation(piece)) for piece in update.pieces]
        self._news.set()

    def _finish_one(self) -> None:
        self._num_left -= 1
        if self.is_finished:
            if self._timer is not None:
                self._timer.cancel()
            self._on_finish(self)


def _without_cancellation(piece: TextPiece) -> TextPiece:
    """Return a piece whose end is no cancellation: OpenAI's API has no such reason, and the reader gets the error."""
    return dataclasses.replace(piece, finish_detail=None) if piece.finish_detail == "cancelled" else piece
