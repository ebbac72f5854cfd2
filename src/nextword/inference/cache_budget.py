"""`CacheBudget`: the memory for keys and values, which requests and scorers share.

A request or a scorer's batch takes all the room that its sequences may need before the first of them runs, and gives it
back at the end; so no sequence finds the KV cache full in its middle. Room is counted in positions of whole pages.
"""

from __future__ import annotations

from collections.abc import Iterable

from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS


class CacheBudget:
    """Counts the positions of a KV cache that are taken. Its owner's lock guards it."""

    def __init__(self, max_positions: int) -> None:
        self.max_positions = max_positions
        self.num_taken = 0

    def require(self, num_positions: int, *, remedy: str) -> None:
        """Raise RequestError, which tells the user the remedy, if the whole budget is too small."""
        if num_positions > self.max_positions:
            raise RequestError(
                f"the request may need room for {num_positions} tokens, and the memory for keys and values holds "
                f"{self.max_positions}: {remedy}"
            )

    def can_reserve(self, num_positions: int) -> bool:
        """Return True if so many more positions can be taken."""
        return self.num_taken + num_positions <= self.max_positions

    def reserve(self, num_positions: int) -> None:
        """Take positions, of which `can_reserve` must be true."""
        assert self.can_reserve(num_positions)
        self.num_taken += num_positions

    def release(self, num_positions: int) -> None:
        """Give back positions taken before."""
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
