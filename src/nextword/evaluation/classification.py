"""`classification_report`: true labels and predicted probabilities in; accuracy, F1 and calibration out.

Knows no texts and no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.plain_text import count, text_table

_NUM_BINS = 10
_Z_95 = 1.959964
"""Standard deviations on each side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of about the same confidence."""

    low: float
    """Lowest confidence."""
    high: float
    """Highest confidence."""
    num_texts: int
    """Number of texts with such a confidence."""
    confidence: float
    """Mean probability of the predicted label."""
    accuracy: float
    """Share of correct predictions."""


@dataclass(frozen=True)
class LabelScores:
    """Precision and recall of one label."""

    label: str
    """The label."""
    num_texts: int
    """Number of texts with this true label."""
    precision: float
    """Share of correct predictions among the texts with this predicted label; 0 if it was never predicted."""
    recall: float
    """Share of the texts with this true label for which it was predicted; 0 without such texts."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, kw_only=True)
class ClassificationReport:
    """Predicted labels compared with the true ones. `print` and notebooks show figures and the confusion matrix."""

    labels: tuple[str, ...]
    """All labels, in the order of the confusion matrix."""
    confusion: tuple[tuple[int, ...], ...]
    """Number of texts by true label (row) and predicted label (column)."""
    bins: tuple[CalibrationBin, ...]
    """Bins by confidence, ascending, without the empty ones."""

    @property
    def num_texts(self) -> int:
        """Number of texts."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
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

    def __repr__(self) -> str:
        return f"ClassificationReport(accuracy {self.accuracy:.3f}, {count(self.num_texts, 'text')})"

    def __str__(self) -> str:
        head, *rows = self._rows()
        return "\n".join([*self._summary(), text_table(head, rows)])

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, line, small_table
        from nextword.html.page import escaped

        head, *rows = self._rows()
        table = small_table(head, [[escaped(cell) for cell in row] for row in rows])
        return block(*(line(text) for text in self._summary()), table)

    def _summary(self) -> list[str]:
        low, high = self.accuracy_interval
        accuracy = f"accuracy {self.accuracy:.3f} (95 %: {low:.3f} to {high:.3f}) on {count(self.num_texts, 'text')}"
        return [
            f"{accuracy}; the most frequent label: {self.chance:.3f}",
            f"macro-F1 {self.macro_f1:.3f}, expected calibration error {self.calibration_error:.3f}",
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        """Return precision, recall, F1 and the row of the confusion matrix of each label, under a head."""
        head = ("true label", "texts", "precision", "recall", "F1", *(f"as {label}" for label in self.labels))
        rows = (
            (one.label, str(one.num_texts), f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}")
            for one in self.by_label
        )
        return [head, *((*row, *map(str, counts)) for row, counts in zip(rows, self.confusion, strict=True))]


def classification_report(
    labels: Sequence[str], right: Sequence[int], probabilities: npt.NDArray[np.float64]
) -> ClassificationReport:
    """Compare predictions with true labels.

    `right`: indices into `labels`, (texts,), at least one; `probabilities`: of each label, (texts, labels).
    """
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
