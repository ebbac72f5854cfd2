"""How far a command is that goes through a known number of things: a line that changes on a terminal, else nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def with_progress(things: Iterable[T], *, total: int, what: str) -> Iterator[T]:
    """The things, as they come; how many of them have come, how fast, and how long the rest will take."""
    if not sys.stderr.isatty():
        yield from things
        return
    start = time.perf_counter()
    try:
        for number, thing in enumerate(things, 1):
            speed = number / max(time.perf_counter() - start, 1e-9)
            line = f"{number:,} of {total:,} {what}, {speed:,.1f} a second, {(total - number) / speed:,.0f} s left"
            print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
            yield thing
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
