"""Tune glibc's heap for training: freed memory stays with the process, since the next step allocates it again.

By default glibc returns each large tensor to the system and maps new zeroed pages for the next one, which takes up to a
third of a step. With another C library the function does nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # the numbers of mallopt(3)
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20}
_AS_BEFORE = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 64 << 20, _TOP_PAD: 128 << 10, _MMAP_THRESHOLD: 32 << 20}
"""Default settings; the thresholds are those that glibc adapts to in a process with large tensors."""


@contextmanager
def retained_heap() -> Iterator[None]:
    """Retain memory that is freed in the block; return it to the system at the end."""
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


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        library.mallopt(name, value)
