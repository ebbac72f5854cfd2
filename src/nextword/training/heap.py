"""Keeping freed memory with the process while it trains: a step asks for what the step before gave back.

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
"""Defaults; the thresholds are those that the library reaches by itself in a process with large tensors."""


@contextmanager
def retained_heap() -> Iterator[None]:
    """Keep memory that is freed in the block, and return it to the system at its end."""
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


def trim_heap() -> None:
    """Return free memory between tensors in use to the system: too small for the next large one, it would be wasted.

    A large tensor never goes where one of its size was, since room to align it is asked for besides.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(_KEPT[_TOP_PAD])


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        library.mallopt(name, value)
