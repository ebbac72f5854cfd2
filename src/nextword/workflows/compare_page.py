"""`write_compare_page`: two models on one text: the difference, its histogram, and where it is largest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nextword.evaluation.compare import BIN_NATS, NUM_BINS, Comparison, Difference, signed
from nextword.html.page import Html, escaped, heading, markup_table, paragraph, table, write_page
from nextword.html.plots import plot
from nextword.html.tokens import marked_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_compare_page(path: Path, comparison: Comparison, *, names: tuple[str, str], title: str) -> None:
    """Write the page. Raises DataError if writing fails, MissingExtraError without matplotlib."""
    write_page(path, title, _parts(comparison, names))


def _parts(comparison: Comparison, names: tuple[str, str]) -> Iterator[Html]:
    yield paragraph(f"{comparison.verdict[0].upper()}{comparison.verdict[1:]}.")
    rows = [("A", names[0], f"{comparison.bits_per_byte_a:.4f}"), ("B", names[1], f"{comparison.bits_per_byte_b:.4f}")]
    yield table(("", "model", "bits per byte"), [*rows, ("B - A", "", signed(comparison.difference))])
    if comparison.interval is not None:
        units, resamples = comparison.units
        low, high = comparison.interval.low, comparison.interval.high
        yield paragraph(f"95 %: {low:+.4f} to {high:+.4f}, by the bootstrap over {resamples.num_units:,} {units}.")
    if comparison.mean_divergence is not None and comparison.agreement is not None:
        yield paragraph(
            f"Kullback-Leibler divergence of B from A: {comparison.mean_divergence:.4f} nats per token. "
            f"Both find the same token the most probable at {comparison.agreement:.1%} of {comparison.num_pieces:,}."
        )
    yield plot(
        lambda axes: _draw(axes, comparison),
        caption="Pieces of the text by how much more surprised B is than A; below zero B predicts better.",
    )
    yield heading("Where they differ most")
    yield markup_table(("A, nats", "B, nats", "text"), map(_row, comparison.differences), text=(2,))


def _draw(axes: Axes, comparison: Comparison) -> None:
    edges = (np.arange(NUM_BINS + 1) - NUM_BINS / 2) * BIN_NATS
    axes.stairs(comparison.histogram, edges, fill=True)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlabel("surprisal of B less that of A, nats")
    axes.set_ylabel("pieces")


def _row(difference: Difference) -> tuple[Html, Html, Html]:
    is_better = difference.nats_b < difference.nats_a
    text = marked_difference(difference.before, difference.text, is_better=is_better)
    return escaped(f"{difference.nats_a:.2f}"), escaped(f"{difference.nats_b:.2f}"), text
