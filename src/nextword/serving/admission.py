"""`Admission`: bounds what waits for the engine, in completions and in tokens of prompts. Lives on the event loop."""

from __future__ import annotations

import math
import time

from nextword.serving.errors import queue_full
from nextword.serving.limits import Limits

_LONGEST_PAUSE = 120
"""Seconds after which a client is told to come back at the latest; clients heed no longer ones."""
_WEIGHT = 0.1
"""Share of a new measurement in the moving average."""


class Place:
    """A request's place in the queue, from `Admission.enter` until the request runs or ends."""

    def __init__(self, admission: Admission, num_sequences: int, num_tokens: int) -> None:
        self._admission = admission
        self.num_sequences, self.num_tokens = num_sequences, num_tokens
        self.entered = time.monotonic()
        self.is_left = False
        """True once the request runs or has ended."""

    def leave(self, *, is_served: bool) -> None:
        """Give up the place; once. `is_served`: False for a request that ends without having run."""
        if not self.is_left:
            self.is_left = True
            self._admission.left(self, is_served=is_served)


class Admission:
    """Count of the requests that wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.num_sequences = 0
        """Completions that wait."""
        self.num_tokens = 0
        """Tokens of their prompts."""
        self._seconds = 0.0
        """Moving average of how long a request waited."""

    def check(self, num_sequences: int, num_tokens: int) -> None:
        """Raise ApiError with status 429 if a request would make the queue too long; into an empty one all may come."""
        is_long = self.num_sequences + num_sequences > self._limits.max_queue
        if self.num_sequences and (is_long or self.num_tokens + num_tokens > self._limits.max_queue_tokens):
            raise queue_full(min(max(math.ceil(self._seconds), 1), _LONGEST_PAUSE))

    def enter(self, num_sequences: int, num_tokens: int) -> Place:
        """Take a place in the queue."""
        self.num_sequences += num_sequences
        self.num_tokens += num_tokens
        return Place(self, num_sequences, num_tokens)

    def left(self, place: Place, *, is_served: bool) -> None:
        """Count a request that has left the queue."""
        self.num_sequences -= place.num_sequences
        self.num_tokens -= place.num_tokens
        if is_served:
            self._seconds += _WEIGHT * (time.monotonic() - place.entered - self._seconds)
