"""Freed memory stays with the process while it trains: a step asks for what the step before gave back.

The C library would return each large tensor to the system and fetch the next one from there, page by page, each to be
found and filled with zeros: up to a third of a step. Nothing happens where the library is not glibc.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # the numbers of mallopt(3)
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20}
_AS_BEFORE = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 64 << 20, _TOP_PAD: 128 << 10, _MMAP_THRESHOLD: 32 << 20}
"""Defaults; of the thresholds, where the library itself brings them in a process that uses large tensors."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed meanwhile, and give it back in the end."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    _set(library, _KEPT)
    try:
        yield
    finally:
        _set(library, _AS_BEFORE)
        library.malloc_trim(0)


def give_back_gaps() -> None:
    """Give back what lies free between tensors in use: too small for the next large one, it would be held for nothing.

    A large tensor never goes where one of its size was, since room to align it is asked for besides.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(_KEPT[_TOP_PAD])


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        library.mallopt(name, value)
