"""Progress of a training run: a line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from nextword.cli.console import ProgressLine, note

if TYPE_CHECKING:
    from nextword.training.callbacks import StepReport
    from nextword.training.recipe import Recipe

_SECONDS_BETWEEN_LINES = 30.0
"""Time between lines that stay, such as in a log."""


class TrainingProgress:
    """Shows each step of a run; its methods are the callbacks of `pretrain` and `finetune`."""

    def __init__(self, recipe: Recipe) -> None:
        self._num_steps = recipe.steps
        self._shows_samples = recipe.checkpointing.sample_every > 0
        self._shown_at = -_SECONDS_BETWEEN_LINES
        self._line = ProgressLine()

    def on_step(self, report: StepReport) -> None:
        """Show a step: each on a terminal, else one every half a minute, and the last."""
        from nextword.workflows.training_page import format_duration  # here, for it draws the report, too

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
        """Show a line that stays."""
        self._line.clear()
        note(message)

    def on_sample(self, step: int, text: str) -> None:
        """Show a sample text, set apart, where they were asked for."""
        if not self._shows_samples:
            return
        self.note(f"step {step} writes:")
        for line in text.strip().splitlines():
            print(f"    {line}", file=sys.stderr, flush=True)
