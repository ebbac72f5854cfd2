"""What a training run shows while it runs: a line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from nextword.cli.console import note
from nextword.workflows.training_page import duration

if TYPE_CHECKING:
    from nextword.training.trainer import StepReport

_SECONDS_BETWEEN_LINES = 30.0
"""Where nobody sees a line change, such as in a log."""


class TrainingProgress:
    """Shows each step of a run."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self._shown_at = -_SECONDS_BETWEEN_LINES
        self._width = 0

    def on_step(self, report: StepReport) -> None:
        """Show a step: on a terminal each, else one every half a minute, and the last."""
        line = (
            f"step {report.step} of {self._num_steps}, loss {report.loss:.4f}, "
            f"{report.tokens_per_second:,.0f} tokens/s, "
            f"{report.mfu:.0%} of the machine's peak, {duration(report.seconds_left)} left"
        )
        if sys.stderr.isatty():
            print(f"\r{line:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = len(line)
        elif time.monotonic() >= self._shown_at + _SECONDS_BETWEEN_LINES or report.step == self._num_steps:
            self._shown_at = time.monotonic()
            note(line)

    def note(self, message: str) -> None:
        """A line that stays."""
        self._clear()
        note(message)

    def show_text(self, what: str, text: str) -> None:
        """A text of several lines that stays, set apart."""
        self.note(what)
        for line in text.strip().splitlines():
            print(f"    {line}", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr)
