"""Progress of a training run: one changing line on a terminal, periodic lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from nextword.cli.console import ProgressLine, note

if TYPE_CHECKING:
    from nextword.training.callbacks import StepReport
    from nextword.training.recipe import Recipe

_SECONDS_BETWEEN_LINES = 30.0
"""Seconds between lines outside a terminal, such as in a log."""


class TrainingProgress:
    """Shows each step of a run; its methods are the callbacks of `pretrain` and `finetune`."""

    def __init__(self, recipe: Recipe) -> None:
        self._num_steps = recipe.steps
        self._shows_samples = recipe.checkpointing.sample_every > 0
        self._shown_at = -_SECONDS_BETWEEN_LINES
        self._line = ProgressLine()

    def on_step(self, report: StepReport) -> None:
        """Show a step: every one on a terminal, else one every half minute, and the last."""
        from nextword.workflows.training_page import format_duration  # also draws the report

        line = (
            f"step {report.step} of {self._num_steps}, loss {report.loss:.4f}, "
            f"{report.tokens_per_second:,.0f} tokens/s, "
            f"{report.mfu:.0%} MFU, {format_duration(report.seconds_left)} left"
        )
        if self._line.is_visible:
            self._line.show(line)
        elif time.monotonic() >= self._shown_at + _SECONDS_BETWEEN_LINES or report.step == self._num_steps:
            self._shown_at = time.monotonic()
            note(line)

    def note(self, message: str) -> None:
        """Print a line above the progress line."""
        self._line.clear()
        note(message)

    def on_sample(self, step: int, text: str) -> None:
        """Print a sample text, indented, if samples were asked for."""
        if not self._shows_samples:
            return
        self.note(f"step {step} sample:")
        for line in text.strip().splitlines():
            print(f"    {line}", file=sys.stderr, flush=True)
