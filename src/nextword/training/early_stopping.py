"""`EarlyStopping`: end a run when the validation loss has not improved for `patience` validations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class EarlyStopping:
    """Counts validations without a new best."""

    def __init__(self, patience: int) -> None:
        """Start with no validation; `patience`: validations without a new best until the run ends, 0: never."""
        self._patience = patience
        self._best = math.inf
        self.num_since_best = 0

    def is_best(self, loss: float) -> bool:
        """Record a validation loss; return True if it is the lowest yet."""
        if loss < self._best:
            self._best, self.num_since_best = loss, 0
            return True
        self.num_since_best += 1
        return False

    @property
    def should_stop(self) -> bool:
        """True if the run should end."""
        return 0 < self._patience <= self.num_since_best

    def state(self) -> dict[str, object]:
        """Return the state to save in a checkpoint, as plain JSON."""
        return {"best": None if math.isinf(self._best) else self._best, "since_best": self.num_since_best}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self._best = math.inf if state["best"] is None else state["best"]
        self.num_since_best = state["since_best"]
