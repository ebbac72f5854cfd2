"""`CacheBudget`: the capacity of the KV cache, shared by requests and scorers.

A scorer's batch reserves all positions that its sequences may need before the first of them runs, and releases them at
the end; so do requests that cannot be preempted. Others reserve before each step what it may add (see `preemption`),
so no step runs out of cache. Positions are counted in whole pages.
"""

from __future__ import annotations

from collections.abc import Iterable

from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS


class CacheBudget:
    """Count of the reserved positions of a KV cache. Not thread-safe: the owner's lock guards it."""

    def __init__(self, max_positions: int) -> None:
        self.max_positions = max_positions
        self.num_taken = 0

    def require(self, num_positions: int, *, remedy: str) -> None:
        """Raise RequestError, whose message ends with `remedy`, if the whole budget is too small."""
        if num_positions > self.max_positions:
            raise RequestError(
                f"the request may need room for {num_positions} tokens, and the memory for keys and values holds "
                f"{self.max_positions}: {remedy}"
            )

    def can_reserve(self, num_positions: int) -> bool:
        """Return True if `num_positions` more positions are free."""
        return self.num_taken + num_positions <= self.max_positions

    def reserve(self, num_positions: int) -> None:
        """Reserve positions; `can_reserve` must be true for them."""
        assert self.can_reserve(num_positions)
        self.num_taken += num_positions

    def release(self, num_positions: int) -> None:
        """Release positions that were reserved."""
        self.num_taken -= num_positions


def whole_pages(num_positions: int) -> int:
    """Round a number of positions up to whole pages."""
    return -(-num_positions // PAGE_POSITIONS) * PAGE_POSITIONS


def forked_positions(prefix_length: int, growths: Iterable[int]) -> int:
    """Return the positions that forks of one prefix take when each has grown by its number of tokens.

    Full pages of the prefix are shared; each fork has its own copy of the page that the prefix does not fill.
    """
    num_shared = prefix_length // PAGE_POSITIONS * PAGE_POSITIONS
    return num_shared + sum(whole_pages(prefix_length - num_shared + growth) for growth in growths)
