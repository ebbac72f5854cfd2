"""`Resamples`: confidence intervals of ratios of sums by the bootstrap, in memory that does not grow with the units.

Each resample counts each unit (a document, a window) a random number of times, drawn from a Poisson distribution of
mean 1: in the limit of many units that is drawing as many units with replacement, and no unit has to be kept for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 1000
_SEED = 0
_TAILS = (2.5, 97.5)
"""Percentiles that bound 95 % of the resamples."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval of a figure; `f"{interval:.2f}"` shows both ends."""

    low: float
    """Lower end, the 2.5th percentile."""
    high: float
    """Upper end, the 97.5th percentile."""

    def __format__(self, spec: str) -> str:
        return f"{self.low:{spec}} to {self.high:{spec}}"


class Resamples:
    """Sums of several columns over the units, for each resample: (NUM_RESAMPLES, columns)."""

    def __init__(self, num_columns: int, *, num_units: int = 0, sums: npt.ArrayLike | None = None) -> None:
        self.num_units = num_units
        self.sums: Floats = np.zeros((NUM_RESAMPLES, num_columns)) if sums is None else np.array(sums, dtype=np.float64)

    def plus(self, *values: float) -> Resamples:
        """Return the resamples with one more unit, given its value in each column."""
        random = np.random.Generator(np.random.Philox(key=[_SEED, self.num_units]))
        counts = random.poisson(1.0, NUM_RESAMPLES)
        return Resamples(len(values), num_units=self.num_units + 1, sums=self.sums + np.outer(counts, values))

    def interval(self, figure: Callable[[Floats], Floats]) -> Interval | None:
        """Return the 95 % interval of a figure, (columns, resamples) -> (resamples,).

        None for fewer than two units, and if the figure of a resample is NaN.
        """
        if self.num_units < 2:
            return None
        drawn = self.sums[self.sums.any(axis=1)]  # a resample of few units may be empty
        low, high = np.percentile(figure(drawn.T), _TAILS)
        return None if np.isnan(low) else Interval(float(low), float(high))
