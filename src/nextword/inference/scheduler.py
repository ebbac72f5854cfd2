"""`Scheduler`: chooses the requests that run in the next step. Policy only; it computes nothing and knows no text.

Every running sequence decodes in every step, beside as many tokens of prompts as `PrefillPace` allows, so that a long
prompt never makes the readers of other requests wait. Nor do long prompts hold up short ones: in every second step the
shortest comes first, so a short one waits for one step, however many long ones there are; in the others the one that
came first does, so a long one takes twice its time at most. Where requests wait for a place, the one that is due first
comes first: a prompt is due once as many tokens of prompts were computed since it came as it has itself. Prompts that
came in one request count as one: the later ones are due as if they stood behind the others.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Iterator

from nextword.inference.backend import PAGE_POSITIONS
from nextword.inference.cache_budget import CacheBudget
from nextword.inference.preemption import positions_now
from nextword.inference.sequence import Request


class Scheduler:
    """First due, first served, up to `max_sequences` at a time, and what the KV cache can hold."""

    def __init__(self, max_sequences: int, budget: CacheBudget, amateur_budget: CacheBudget) -> None:
        self.max_sequences = max_sequences
        self._budget, self._amateur_budget = budget, amateur_budget
        self._waiting: list[Request] = []
        """The requests that wait, the one that is due first in front."""
        self._running: list[Request] = []
        self._due: dict[Request, tuple[int, int]] = {}
        self.num_computed = 0
        """Tokens of prompts up to now: the clock by which prompts are due."""
        self._numbers = itertools.count()
        self._num_holds = 0
        self._is_turn_of_oldest = False
        """True if the oldest prompt comes first when it is not the shortest next time."""

    def add(self, request: Request) -> None:
        """Put a request into the queue. It must fit the whole budget."""
        num_tokens = request.num_tokens_ahead + request.num_prompt_tokens
        self._due[request] = (self.num_computed + num_tokens, next(self._numbers))
        bisect.insort(self._waiting, request, key=self._due.__getitem__)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Let no further request begin until the block ends."""
        self._num_holds += 1
        try:
            yield
        finally:
            self._num_holds -= 1

    def computed(self, num_tokens: int) -> None:
        """Count tokens of a prompt that were computed."""
        self.num_computed += num_tokens

    def remove(self, request: Request) -> None:
        """Remove a request that is finished or cancelled."""
        if request in self._running:
            self._stop(request)
        elif request in self._waiting:
            self._waiting.remove(request)
        self._due.pop(request, None)

    def make_room(self) -> list[Request]:
        """Reserve what the running requests may grow by in the next step; return those that had to give way to others.

        They wait again. Of the requests that can give way, the one that is due last does so first.
        """
        preempted: list[Request] = []
        for request in sorted(self._running, key=self._due.__getitem__):
            while request in self._running and not self._grow(request):
                last = max((one for one in self._running if one.is_preemptible), key=self._due.__getitem__)
                self._stop(last)
                bisect.insort(self._waiting, last, key=self._due.__getitem__)
                preempted.append(last)
        return preempted

    def schedule(self) -> tuple[list[Request], list[Request]]:
        """Return the requests whose prompts are to be computed, in this order, and those that decode."""
        while self._waiting and not self._num_holds and self._fits(self._waiting[0]):
            self._admit(self._waiting.pop(0))
        prefilling = [request for request in self._running if request.is_prefilling]
        decoding = [request for request in self._running if not request.is_prefilling]
        return self._in_turns(prefilling), decoding

    @property
    def has_running(self) -> bool:
        """True if a step would advance a request that runs already."""
        return bool(self._running)

    @property
    def num_tokens_left(self) -> int:
        """Tokens of the prompts that run, as far as they are not computed."""
        return sum(_tokens_left(request) for request in self._running.copy() if request.is_prefilling)

    @property
    def has_texts(self) -> bool:
        """True if a step would continue a text."""
        return any(not request.is_prefilling for request in self._running)

    def _in_turns(self, prefilling: list[Request]) -> list[Request]:
        """Return the requests the shortest first, or that which came first if the other was preferred last time."""
        shortest = sorted(prefilling, key=_tokens_left)
        oldest = sorted(prefilling, key=lambda request: self._due[request][1])
        if shortest[:1] == oldest[:1]:
            return oldest
        self._is_turn_of_oldest = not self._is_turn_of_oldest
        return shortest if self._is_turn_of_oldest else oldest

    def _grow(self, request: Request) -> bool:
        """Reserve what a running request needs for the next step; return False if there is no room for it."""
        growth = positions_now(request) - request.num_reserved
        if growth > 0:
            if not self._budget.can_reserve(growth):
                return False
            self._budget.reserve(growth)
            request.num_reserved += growth
        return True

    def _stop(self, request: Request) -> None:
        self._running.remove(request)
        self._budget.release(request.num_reserved)
        self._amateur_budget.release(request.num_amateur_positions)
        request.num_reserved = 0

    def _admit(self, request: Request) -> None:
        request.num_reserved = positions_now(request)
        self._budget.reserve(request.num_reserved)
        self._amateur_budget.reserve(request.num_amateur_positions)
        self._running.append(request)
        request.has_started = True

    def _fits(self, request: Request) -> bool:
        """Return True if the request can run beside the others; one with more sequences than the maximum runs alone."""
        num_sequences = sum(running.params.width for running in self._running) + request.params.width
        is_small_enough = not self._running or num_sequences <= self.max_sequences
        # The others' next pages are left to them: a request that they push out at once has been computed in vain.
        growth = sum(min(one.num_positions - one.num_reserved, PAGE_POSITIONS) for one in self._running)
        has_room = self._budget.can_reserve(positions_now(request) + growth)
        return is_small_enough and has_room and self._amateur_budget.can_reserve(request.num_amateur_positions)


def _tokens_left(request: Request) -> int:
    """Return how many tokens of its prompt, its guide's, and what it lost to others are yet to be computed."""
    guide, own = request.guide, len(request.prefill_token_ids) - request.num_prefilled
    return own + (0 if guide is None else len(guide.prompt_token_ids) - guide.num_prefilled)
