"""Room in the KV cache, counted in positions of whole pages."""

from __future__ import annotations

from collections.abc import Iterable

from nextword.inference.backend import PAGE_POSITIONS


def whole_pages(num_positions: int) -> int:
    """Round a number of positions up to whole pages."""
    return -(-num_positions // PAGE_POSITIONS) * PAGE_POSITIONS


def forked_positions(prefix_length: int, growths: Iterable[int]) -> int:
    """Return the positions that forks of one prefix take when each has grown by its number of tokens.

    Full pages of the prefix are shared; each fork has its own copy of the page that the prefix does not fill.
    """
    num_shared = prefix_length // PAGE_POSITIONS * PAGE_POSITIONS
    return num_shared + sum(whole_pages(prefix_length - num_shared + growth) for growth in growths)
