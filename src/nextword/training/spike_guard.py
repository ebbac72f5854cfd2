"""`SpikeGuard`: skip the update of a step whose loss is NaN, infinite or a spike.

Too many such steps in a row end the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nextword.errors import TrainingError

_WINDOW = 50
"""Number of previous losses with which a new one is compared."""
_FEWEST = 10
"""Minimum number of previous losses for a comparison."""


class SpikeGuard:
    """Detector of loss spikes that also counts the skipped steps."""

    def __init__(self, max_skipped: int) -> None:
        self._max_skipped = max_skipped
        self.num_skipped = 0
        """Number of steps whose update was skipped."""
        self.num_in_row = 0
        """Skipped steps since the last update."""
        self._recent: list[float] = []

    def fault(self, loss: float, grad_norm: float) -> str | None:
        """Return the reason to skip a step; None to take it."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(grad_norm):
            return f"the gradient norm is {grad_norm}"
        if len(self._recent) >= _FEWEST:
            limit = max(self._recent) + sum(self._recent) / len(self._recent)
            if loss > limit:
                return f"the loss jumps to {loss:.4g}, above the last largest and mean together, {limit:.4g}"
        return None

    def take(self, loss: float) -> None:
        """Count a step that was taken."""
        self._recent = [*self._recent, loss][-_WINDOW:]
        self.num_in_row = 0

    def skip(self, reason: str, *, advice: str) -> None:
        """Count a step that is skipped. Raises TrainingError, with `advice`, at `max_skipped` in a row."""
        self.num_skipped += 1
        self.num_in_row += 1
        if self.num_in_row >= self._max_skipped:
            raise TrainingError(f"{self.num_in_row} steps in a row were skipped, the last: {reason}. {advice}")

    def state(self) -> dict[str, object]:
        """Return the state to save in a checkpoint, as plain JSON."""
        return {"num_skipped": self.num_skipped, "skipped_in_row": self.num_in_row, "recent": self._recent}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self.num_skipped, self.num_in_row = state["num_skipped"], state["skipped_in_row"]
        self._recent = state["recent"]
