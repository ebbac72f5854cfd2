"""The budget of one rendering of a chat template: characters that it may build, and a time limit.

Values nest and share their parts, so `[x, x]` twenty times over is a short list that prints as a million. A value whose
full size, as it would be printed, exceeds the budget is therefore refused where it is built: `admit`. What is left then
costs no more to print, hash or compare than its size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jinja2

STEP = 400
"""Cost of an iteration or a call, in characters: fifty thousand of them take up to a second."""
ENTRY = 8
"""Cost of an item of a list, in characters."""
_WORK = 20_000_000
"""Budget of one rendering, in characters built, besides that of the conversation's size."""
_WORK_PER_CHARACTER = 64
"""Budget for each character of a conversation: templates handle each a few times."""
_PARTS = 200_000
"""Most parts that one value may have, besides those of the conversation."""
_SECONDS = 10.0
"""Time limit, for work that is slow without building anything, such as searches in long texts."""


class _Budget:
    """Remaining budget of one rendering."""

    def __init__(self, num_characters: int) -> None:
        self.whole = float(_WORK + _WORK_PER_CHARACTER * num_characters)
        self.parts = _PARTS + num_characters
        self._left = self.whole
        self._deadline = time.monotonic() + _SECONDS

    def charge(self, amount: float) -> None:
        self._left -= amount
        if self._left < 0:
            refuse()
        self.look_at_clock()

    def look_at_clock(self) -> None:
        if time.monotonic() > self._deadline:
            refuse()


_budget: ContextVar[_Budget] = ContextVar("_budget")


@contextmanager
def bounded_work(num_characters: int) -> Iterator[None]:
    """Give renderings inside the block a budget for a conversation of `num_characters`; without one none can run."""
    token = _budget.set(_Budget(num_characters))
    try:
        yield
    finally:
        _budget.reset(token)


def charge(amount: float) -> None:
    """Charge an amount to the budget of this rendering. Raises jinja2.TemplateError once it is used up."""
    _budget.get().charge(amount)


def refuse() -> None:
    """Raise jinja2.TemplateError for work without an end in sight."""
    raise jinja2.TemplateError("it does more work than any conversation needs; it may loop without end")


def admit(value: Any, *, times: float = 1) -> Any:
    """Return a value, or so many copies of it, unless its full size is beyond the whole budget, or time is up."""
    budget = _budget.get()
    if full_size(value) * times > budget.whole:
        refuse()
    budget.look_at_clock()
    return value


def full_size(value: Any) -> float:
    """Return the size of a value with all that is in it, in characters, as printing it would count shared parts.

    Stops counting beyond the budget, or beyond the parts that a value may have.
    """
    if isinstance(value, str | bytes):
        return len(value) + ENTRY
    budget, size, steps, waiting = _budget.get(), 0.0, 0, [value]
    while waiting:
        one = waiting.pop()
        size += ENTRY
        if isinstance(one, str | bytes):
            size += len(one)
        elif isinstance(one, int):
            size += one.bit_length() // 3
        elif isinstance(one, list | tuple | set | frozenset):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            waiting.extend(one.keys())
            waiting.extend(one.values())
        steps += 1
        if size > budget.whole or steps > budget.parts:
            return math.inf
    return size


def depth(value: Any, limit: int = 200) -> int:
    """Return how deep lists and mappings nest, at most `limit`."""
    if limit == 0 or not isinstance(value, list | tuple | Mapping):
        return 0
    parts = value.values() if isinstance(value, Mapping) else value
    return 1 + max((depth(part, limit - 1) for part in parts), default=0)
