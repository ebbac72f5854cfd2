"""`write_classification_page`: figures, the confusion matrix, and confidence against accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nextword.evaluation.classification import ClassificationReport
from nextword.html.page import heading, paragraph, table, write_page
from nextword.html.plots import plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_classification_page(path: Path | str, report: ClassificationReport, *, title: str) -> None:
    """Write the page. Raises DataError if writing fails, MissingExtraError without matplotlib."""
    low, high = report.accuracy_interval
    write_page(
        path,
        title,
        [
            paragraph(
                f"Accuracy {report.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}) on {report.num_texts} texts; "
                f"always choosing the most frequent label: {report.chance:.3f}. Macro-F1 {report.macro_f1:.3f}, "
                f"expected calibration error {report.calibration_error:.3f}."
            ),
            table(
                ["label", "texts", "precision", "recall", "F1"],
                [
                    [one.label, one.num_texts, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}"]
                    for one in report.by_label
                ],
            ),
            heading("Confusion matrix"),
            plot(lambda axes: _draw_confusion(axes, report), caption="Texts by true and predicted label.", width=5.0),
            heading("Calibration"),
            plot(
                lambda axes: _draw_calibration(axes, report),
                caption="Share of correct predictions against the probability of the predicted label, in ten bins. On "
                "the diagonal a model is as sure as it is right; below it, it is too sure. Numbers: texts in the bin.",
                width=5.0,
                height=4.5,
            ),
        ],
    )


def _draw_confusion(axes: Axes, report: ClassificationReport) -> None:
    axes.imshow(report.confusion, cmap="Blues")
    darkest = max(map(max, report.confusion))
    for row, counts in enumerate(report.confusion):
        for column, count in enumerate(counts):
            axes.text(column, row, str(count), ha="center", color="white" if 2 * count > darkest else "black")
    positions = range(len(report.labels))
    axes.set_xticks(positions, report.labels)
    axes.set_yticks(positions, report.labels)
    axes.set_xlabel("chosen")
    axes.set_ylabel("right")


def _draw_calibration(axes: Axes, report: ClassificationReport) -> None:
    axes.plot([0, 1], [0, 1], color="#999", linestyle="--")
    axes.plot([one.confidence for one in report.bins], [one.accuracy for one in report.bins], marker="o")
    for one in report.bins:
        axes.annotate(str(one.num_texts), (one.confidence, one.accuracy), xytext=(4, -12), textcoords="offset points")
    axes.set_xlim(1 / len(report.labels), 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the predicted label")
    axes.set_ylabel("accuracy")
