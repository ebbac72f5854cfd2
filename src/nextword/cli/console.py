"""What a command says beside its result: on standard error, so that results pipe well.

Where torchrun or Ray started several processes that do one thing, the first speaks for all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def is_rank_zero() -> bool:
    """Whether this process is the only one, or the first."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def note(message: str) -> None:
    """One line about how the result came to be."""
    if is_rank_zero():
        print(f"[{message}]", file=sys.stderr, flush=True)


def takes_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose owner wants colours: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def complain(message: str) -> None:
    """The one line that says why there is no result, red on a terminal that takes colours."""
    start, end = ("\033[31m", "\033[0m") if takes_colours(sys.stderr) else ("", "")
    where = "" if is_rank_zero() else f" process {os.environ['RANK']}:"
    print(f"{start}nextword:{where} {' '.join(message.split())}{end}", file=sys.stderr)


def count(number: int, what: str) -> str:
    """So many of something whose plural takes an s."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def rate(num_tokens: int, seconds: float) -> str:
    """A count of tokens with their time, prompt included."""
    return f"{count(num_tokens, 'token')} in {seconds:.1f} s, {num_tokens / max(seconds, 1e-9):.1f} tokens/s"


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Show on a terminal what is being waited for; it is gone when the waiting is over."""
    if not sys.stderr.isatty() or not is_rank_zero():
        yield
        return
    print(what, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r" + " " * len(what) + "\r", end="", file=sys.stderr, flush=True)


def show_bytes(done: int, total: int) -> None:
    """How far a download is, on a terminal."""
    if sys.stderr.isatty() and is_rank_zero():
        end = "\n" if done == total else ""
        print(f"\r{done / 1e6:.0f} of {total / 1e6:.0f} MB", end=end, file=sys.stderr, flush=True)
