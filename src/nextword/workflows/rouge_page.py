"""A ROUGE comparison as a page: the table, a plot, and the first text with its summaries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.evaluation.rouge import KINDS, RougeReport
from nextword.html.page import heading, preformatted, table, write_page
from nextword.html.plots import plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nextword.workflows.rouge import RougeComparison


def write_rouge_page(path: Path | str, result: RougeComparison) -> None:
    """Write the page. Raises DataError if writing fails, MissingExtraError without matplotlib."""
    text = result.texts[0]
    written = ((name, summaries[0]) for name, summaries in result.summaries.items())
    shown = "\n\n".join(f"{name}: {summary}" for name, summary in [("by a person", text.summary), *written])
    figure = plot(
        lambda axes: _draw(axes, result.reports), caption="Mean F1 times 100, with 95 % intervals by bootstrap."
    )
    parts = [table(result.columns, result.rows()), figure, heading("The first text"), preformatted(text.text)]
    title = f"{result.file} summarised by {result.model}"
    write_page(path, title, [*parts, heading("Its summaries"), preformatted(shown)])


def _draw(axes: Axes, reports: Mapping[str, RougeReport]) -> None:
    """Draw a group of bars for each kind of ROUGE, in it one for each decoding strategy."""
    width = 0.8 / len(reports)
    for number, (name, report) in enumerate(reports.items()):
        places = [kind + number * width for kind in range(len(KINDS))]
        means = [100 * figure.mean for figure in report.figures.values()]
        errors = [
            (100 * (figure.mean - figure.interval.low), 100 * (figure.interval.high - figure.mean))
            if figure.interval
            else (0.0, 0.0)
            for figure in report.figures.values()
        ]
        axes.bar(places, means, width, yerr=list(zip(*errors, strict=True)), label=name, capsize=2)
    axes.set_xticks([kind + 0.4 - width / 2 for kind in range(len(KINDS))], list(KINDS.values()))
    axes.legend(frameon=False)
