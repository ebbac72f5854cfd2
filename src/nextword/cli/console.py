"""Messages of the command: notes, errors and progress on standard error, so that results on standard output pipe well.

Where torchrun or Ray started several processes for one job, only the first writes notes and progress.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, ClassVar, TextIO

from nextword.plain_text import count as count

if TYPE_CHECKING:
    from nextword.workflows.progress import Progress

INCOMPLETE = "the text is incomplete: the limit of tokens came before the end of its form; raise max_tokens"
"""Remark on a text that was to have a form, and was ended by max_tokens or the context."""
_CLEAR = "\r\033[K"
"""Back to the beginning of the line, and erase it."""


def is_rank_zero() -> bool:
    """Return True if this process is the only one, or the first of several."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def takes_colours(stream: TextIO) -> bool:
    """Return True if a stream is a terminal on which colours are allowed (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(message: str) -> None:
    """Print one line in brackets: a remark on how a result was made; a line of progress gives way to it."""
    if is_rank_zero():
        if ProgressLine.shown is not None:
            ProgressLine.shown.clear()
        print(f"[{message}]", file=sys.stderr, flush=True)


def note_skipped(num_bad: int, first: str | None) -> None:
    """Print how many bad records `--skip-bad` left out, and the first of them; nothing if there were none."""
    if num_bad:
        note(f"{count(num_bad, 'unreadable record')} left out; the first: {first}")


def complain(message: str) -> None:
    """Print an error as one line, red on a terminal with colours."""
    start, end = ("\033[31m", "\033[0m") if takes_colours(sys.stderr) else ("", "")
    where = "" if is_rank_zero() else f" process {os.environ['RANK']}:"
    print(f"{start}nextword:{where} {' '.join(message.split())}{end}", file=sys.stderr)


def rate(num_tokens: int, seconds: float) -> str:
    """Format a number of tokens with the time they took, prompt included."""
    return f"{count(num_tokens, 'token')} in {seconds:.1f} s, {num_tokens / max(seconds, 1e-9):.1f} tokens/s"


class ProgressLine:
    """One line of a terminal that is rewritten during work and removed after it; nothing where there is no terminal.

    Use it as a context manager around the work.
    """

    shown: ClassVar[ProgressLine | None] = None
    """The one that the terminal shows now."""

    def __init__(self) -> None:
        self.is_visible = sys.stderr.isatty() and is_rank_zero()
        self._counted = ""
        self._start = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, line: str) -> None:
        """Replace the line."""
        if self.is_visible:
            ProgressLine.shown = self
            print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def show_count(self, done: int, total: int, what: str) -> None:
        """Show how many of `total` are done, how fast, and how long the rest will take; the clock restarts with `what`.

        Call it with 0 done before the first, so that the first is timed.
        """
        if what != self._counted:
            self._counted, self._start = what, time.perf_counter()
        speed = done / max(time.perf_counter() - self._start, 1e-9)
        left = f", {speed:,.1f} a second, {(total - done) / speed:,.0f} s left" if done else ""
        self.show(f"{done:,} of {total:,} {what}{left}")

    def update(self, progress: Progress) -> None:
        """Show the progress of a workflow."""
        if progress.total is None or progress.line is not None:
            self.show(str(progress))
        else:
            self.show_count(progress.done, progress.total, progress.what)

    def clear(self) -> None:
        """Remove the line, so that a message that stays can take its place."""
        if self.is_visible:
            ProgressLine.shown = None
            print(_CLEAR, end="", file=sys.stderr, flush=True)
