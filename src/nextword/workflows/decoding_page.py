"""A decoding report as a page: the table, plots of repetition and perplexity, and the first texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.evaluation.decoded import DecodedFigures
from nextword.html.page import Html, heading, preformatted, table, write_page
from nextword.html.plots import plot

if TYPE_CHECKING:
    from nextword.workflows.decoding_report import DecodingReport


def write_decoding_page(path: Path | str, report: DecodingReport) -> None:
    """Write the page. Raises DataError if writing fails, MissingExtraError without matplotlib."""
    first = [part for name, texts in report.texts.items() for part in (heading(name), preformatted(texts[0][0]))]
    parts = [
        table(report.columns, report.rows()),
        *_plots(report.figures),
        heading(f"After: {report.prompts[0]}"),
        *first,
    ]
    write_page(path, f"What decoding does to the texts of {report.model}", parts)


def _plots(figures: Mapping[str, DecodedFigures]) -> list[Html]:
    """Return plots of repetition and perplexity, with a bar for each decoding strategy."""
    names, height = list(figures)[::-1], 1.0 + 0.3 * len(figures)
    shares = [figures[name].repetition[4] for name in names]
    perplexities = [figures[name].perplexity for name in names]
    return [
        plot(
            lambda axes: axes.barh(names, shares),
            caption="rep-4: the share of runs of four tokens that the same text had before. Greedy decoding repeats.",
            height=height,
        ),
        plot(
            lambda axes: axes.barh(names, perplexities, log=True),
            caption="Perplexity of the texts under the model itself. A high temperature makes texts improbable.",
            height=height,
        ),
    ]
