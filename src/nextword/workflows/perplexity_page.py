"""Perplexity of files as a page: the figures, the distribution of surprisals, and the effect of context on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nextword.evaluation.perplexity import PerplexityReport
from nextword.evaluation.perplexity_accumulator import BIN_NATS, NUM_BINS
from nextword.html.page import Html, heading, paragraph, table, write_page
from nextword.html.plots import plot
from nextword.workflows.perplexity_tables import COLUMNS, DOCUMENT_COLUMNS, convention_row, document_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nextword.workflows.perplexity import FilePerplexity

_MAX_ROWS = 1000
"""Most documents in the table of a page."""
_RULES = {
    "sliding": "windows as in transformers' documentation; what one window has scored is only context in the next",
    "llama.cpp": "disjoint chunks, of which the first half is context and the second half is scored",
    "lm-eval": "every token is scored, with no more than the tokens of its own block before it, one token more, "
    "or a prefix token at the beginning",
}


def write_perplexity_page(path: Path | str, result: FilePerplexity) -> None:
    """Write a page with the tables, the distribution of surprisals, and the effect of context on them.

    Raises DataError if writing fails, MissingExtraError without matplotlib.
    """
    write_page(path, f"Perplexity of {result.model} on {', '.join(result.files)}", _parts(result))


def _parts(result: FilePerplexity) -> Iterator[Html]:
    reports = result.reports
    yield table(COLUMNS, [convention_row(report) for report in reports])
    for one in result.results:
        name = one.convention.name
        problem = "" if one.problem is None else f" Here: {one.problem}."
        yield paragraph(f"{name}: {_RULES[name]}.{problem}")
    units = ", ".join(f"{report.num_units:,} {report.interval_units} ({report.convention.name})" for report in reports)
    yield paragraph(f"95 % intervals are drawn by the bootstrap over {units}.")
    yield plot(
        lambda axes: _draw_histogram(axes, reports),
        caption="Distribution of the surprisal of the scored tokens.",
    )
    yield plot(
        lambda axes: _draw_context(axes, reports),
        caption="Mean surprisal by how many tokens the model saw before: conventions differ in that.",
    )
    for one, report in [(one, one.report) for one in result.results if one.report is not None]:
        if report.num_documents > 1:
            yield heading(f"Documents, {one.convention.name}")
            rows = [document_row(*document) for document in islice(one.documents, _MAX_ROWS)]
            yield table(DOCUMENT_COLUMNS, rows)
            if report.num_documents > _MAX_ROWS:
                yield paragraph(f"and {report.num_documents - _MAX_ROWS:,} more")


def _draw_histogram(axes: Axes, reports: Sequence[PerplexityReport]) -> None:
    edges = np.arange(NUM_BINS + 1) * BIN_NATS
    for report in reports:
        shares = report.accumulator.histogram / report.accumulator.histogram.sum()
        axes.stairs(shares, edges, label=report.convention.name)
    axes.set_xlabel("surprisal, nats")
    axes.set_ylabel("share of the tokens")
    axes.legend(frameon=False)


def _draw_context(axes: Axes, reports: Sequence[PerplexityReport]) -> None:
    for report in reports:
        nats, counts = report.accumulator.by_context
        used = counts > 0
        axes.plot(2.0 ** np.flatnonzero(used), nats[used] / counts[used], marker="o", label=report.convention.name)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens before, at least")
    axes.set_ylabel("nats per token")
    axes.legend(frameon=False)
