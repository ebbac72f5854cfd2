"""`Admission`: bounds what waits for the engine: completions, tokens of prompts, and seconds. Lives on the event loop.

How long a new request would wait is estimated from what was measured: the seconds that a token of a prompt takes, and
those that each completion that waited took beyond its prompt to get its turn.
"""

from __future__ import annotations

import math
import time
from typing import Protocol

from nextword.serving.errors import queue_full
from nextword.serving.limits import Limits

_LONGEST_PAUSE = 120
"""Seconds after which a client is told to come back at the latest; clients heed no longer ones."""
_MEMORY = 0.97
"""Share of what was measured that still counts after a further request."""
_NO_WAIT = 0.05
"""A request that waited for less found a free place: it says nothing of the time until one becomes free."""


class Prefill(Protocol):
    """Speed of an engine's prompts, and how much of them is left."""

    @property
    def seconds_per_prompt_token(self) -> float:
        """Seconds that a token of a prompt takes."""

    @property
    def num_prompt_tokens_left(self) -> int:
        """Tokens of the prompts that run, as far as they are not computed."""


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

    def __init__(self, limits: Limits, prefill: Prefill) -> None:
        self._limits, self._prefill = limits, prefill
        self.num_sequences = 0
        """Completions that wait."""
        self.num_tokens = 0
        """Tokens of their prompts."""
        self._last_served = 0.0
        """Time at which a request last left the queue to run."""
        self._seconds = self._num_sequences = self._num_tokens = 0.0
        """Time that passed while requests waited, and what was served in it; what is long ago counts less."""

    @property
    def seconds(self) -> float:
        """Estimate of the time after which a request that came now would begin."""
        per_token = self._prefill.seconds_per_prompt_token
        beyond_prompts = max(self._seconds - self._num_tokens * per_token, 0.0)
        per_sequence = beyond_prompts / self._num_sequences if self._num_sequences else 0.0
        num_tokens = self.num_tokens + self._prefill.num_prompt_tokens_left
        return self.num_sequences * per_sequence + num_tokens * per_token

    def check(self, num_sequences: int, num_tokens: int) -> None:
        """Raise ApiError with status 429 if a request would make the queue too long; into an empty one all may come."""
        if not self.num_sequences:
            return
        limits, seconds = self._limits, self.seconds
        is_long = self.num_sequences + num_sequences > limits.max_queue
        is_large = self.num_tokens + num_tokens > limits.max_queue_tokens
        if is_long or is_large or seconds > min(limits.max_wait, limits.deadline):
            raise queue_full(min(max(math.ceil(seconds), 1), _LONGEST_PAUSE))

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
            self._measure(place)

    def _measure(self, place: Place) -> None:
        """Take note of the time since the request before this one, in which others waited."""
        now = time.monotonic()
        if now - place.entered > _NO_WAIT:
            self._seconds = _MEMORY * self._seconds + now - max(self._last_served, place.entered)
            self._num_sequences = _MEMORY * self._num_sequences + place.num_sequences
            self._num_tokens = _MEMORY * self._num_tokens + place.num_tokens
        self._last_served = now
