"""How good the choices of a classifier are: right labels and the probabilities given in, counts and figures out.

Knows no texts and no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_NUM_BINS = 10
_Z_95 = 1.959964
"""Standard deviations on each side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class CalibrationBin:
    """Choices made with about the same confidence."""

    low: float
    high: float
    num_texts: int
    confidence: float
    """Mean probability of the label that was chosen."""
    accuracy: float
    """How many of the choices were right."""


@dataclass(frozen=True)
class LabelScores:
    """How one label fares."""

    label: str
    num_texts: int
    """That have this label."""
    precision: float
    """Of the texts that were given it, the share that have it; 0 if none was given it."""
    recall: float
    """Of the texts that have it, the share that were given it; 0 if none has it."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, kw_only=True)
class ClassificationReport:
    """Choices compared with the right labels."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Row: the right label; column: the one chosen."""
    bins: tuple[CalibrationBin, ...]
    """By confidence, ascending; none that is empty."""

    @property
    def num_texts(self) -> int:
        """Texts with a right label."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of right choices."""
        return sum(self.confusion[index][index] for index in range(len(self.labels))) / self.num_texts

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson 1927)."""
        n, share, z2 = self.num_texts, self.accuracy, _Z_95**2
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return centre - half, centre + half

    @property
    def chance(self) -> float:
        """Accuracy of always choosing the most frequent label."""
        return max(map(sum, self.confusion)) / self.num_texts

    @property
    def by_label(self) -> tuple[LabelScores, ...]:
        """Precision and recall of each label."""
        counts = np.array(self.confusion)
        return tuple(
            LabelScores(
                label,
                int(counts[index].sum()),
                precision=_share(counts[index, index], counts[:, index].sum()),
                recall=_share(counts[index, index], counts[index].sum()),
            )
            for index, label in enumerate(self.labels)
        )

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels."""
        return sum(scores.f1 for scores in self.by_label) / len(self.labels)

    @property
    def calibration_error(self) -> float:
        """Mean distance between confidence and accuracy, by bins of equal width (ECE, Guo et al. 2017)."""
        return sum(one.num_texts * abs(one.confidence - one.accuracy) for one in self.bins) / self.num_texts


def classification_report(
    labels: Sequence[str], right: Sequence[int], probabilities: npt.NDArray[np.float64]
) -> ClassificationReport:
    """Compare choices with right labels, (texts,); probabilities of each label: (texts, labels). At least one text."""
    chosen = probabilities.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (np.asarray(right), chosen), 1)
    return ClassificationReport(
        labels=tuple(labels),
        confusion=tuple(map(tuple, confusion.tolist())),
        bins=_bins(probabilities.max(axis=1), chosen == np.asarray(right)),
    )


def _bins(confidence: npt.NDArray[np.float64], is_right: npt.NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    numbers = np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1)
    return tuple(
        CalibrationBin(
            number / _NUM_BINS,
            (number + 1) / _NUM_BINS,
            int((numbers == number).sum()),
            confidence=float(confidence[numbers == number].mean()),
            accuracy=float(is_right[numbers == number].mean()),
        )
        for number in np.unique(numbers).tolist()
    )


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
