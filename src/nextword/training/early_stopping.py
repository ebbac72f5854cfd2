"""`EarlyStopping`: the best validation loss so far, and the end of the run when it stays the best for too long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class EarlyStopping:
    """Counts validations without a new best."""

    def __init__(self, patience: int) -> None:
        """Begin without a validation; `patience`: number of those without a new best that ends the run, 0 for never."""
        self._patience = patience
        self._best = math.inf
        self.num_since_best = 0

    def is_best(self, loss: float) -> bool:
        """Note a validation loss; return whether it is the lowest so far."""
        if loss < self._best:
            self._best, self.num_since_best = loss, 0
            return True
        self.num_since_best += 1
        return False

    @property
    def should_stop(self) -> bool:
        """True if the run is to end."""
        return 0 < self._patience <= self.num_since_best

    def state(self) -> dict[str, object]:
        """Return what a checkpoint remembers, as plain JSON."""
        return {"best": None if math.isinf(self._best) else self._best, "since_best": self.num_since_best}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._best = math.inf if state["best"] is None else state["best"]
        self.num_since_best = state["since_best"]
