"""What `nextword perplexity` found, as lines, as JSON, and as a page with plots."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nextword.cli.arguments import Reader
from nextword.cli.console import count, note, text_table
from nextword.errors import RequestError
from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.conventions import Convention
from nextword.evaluation.perplexity import PerplexityReport
from nextword.evaluation.perplexity_accumulator import BIN_NATS, NUM_BINS, Sums
from nextword.html.page import Html, heading, paragraph, table, write_page
from nextword.html.plots import plot
from nextword.workflows.resumable_run import ResumableRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = (
    "convention",
    "context",
    "stride",
    "tokens",
    "bytes",
    "nats/token",
    "perplexity",
    "95 %",
    "bits/byte",
    "95 %",
)
_DOCUMENT_COLUMNS = ("document", "tokens", "bytes", "nats/token", "perplexity", "bits/byte")
_MOST_ROWS = 1000
"""Documents in the table of a page."""
_RULES = {
    "sliding": "windows as in transformers' documentation; what one window has scored is only context in the next",
    "llama.cpp": "disjoint chunks, of which the first half is context and the second half is scored",
    "lm-eval": "every token is scored, with no more than the tokens of its own block before it, one token more, "
    "or a prefix token at the beginning",
}


@dataclass(frozen=True)
class Measured:
    """One convention: its report, or what kept it from one."""

    convention: Convention
    report: PerplexityReport | None
    reader: Reader
    run: ResumableRun
    problem: RequestError | None

    def documents(self) -> Iterator[tuple[str, Sums]]:
        """The place and the sums of each document, from the disk."""
        for line in self.run.documents():
            yield line.pop("place"), Sums(**line)


def print_reports(found: list[Measured]) -> None:
    """A table of the documents where there are several, then one of the conventions."""
    for one in found:
        if one.report is not None and one.report.num_documents > 1:
            print(f"{one.convention.name}")
            print(text_table(_DOCUMENT_COLUMNS, [_document_row(*document) for document in one.documents()]), end="\n\n")
    print(text_table(_COLUMNS, [_row(one.report) for one in found if one.report is not None]))
    for one in found:
        if one.report is None:
            print(f"{one.convention.name}: {one.problem}")
            continue
        _note_details(one.report)


def _note_details(report: PerplexityReport) -> None:
    name = report.convention.name
    if report.num_too_short:
        note(f"{name}: {count(report.num_too_short, 'document')} too short to score left out")
    if report.sums.word_perplexity is not None:
        note(f"{name}: {report.sums.word_perplexity:.4f} a word, {report.sums.byte_perplexity:.4f} a byte")
    if report.nats_interval is not None:
        note(f"{name}: intervals over {report.num_units:,} {report.interval_units}")


def _row(report: PerplexityReport) -> list[str]:
    convention, sums = report.convention, report.sums
    return [
        convention.name,
        str(convention.context),
        "" if convention.stride is None else str(convention.stride),
        *_figures(sums)[:4],
        _interval(report.perplexity_interval),
        _figures(sums)[4],
        _interval(report.bits_interval),
    ]


def _document_row(place: str, sums: Sums) -> list[str]:
    return [place, *_figures(sums)]


def _figures(sums: Sums) -> list[str]:
    return [
        f"{sums.num_tokens:,}",
        f"{sums.num_bytes:,}",
        f"{sums.nats_per_token:.4f}",
        f"{sums.perplexity:.4f}",
        f"{sums.bits_per_byte:.4f}",
    ]


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"


# ---- JSON ----


def print_json_reports(found: list[Measured]) -> None:
    """One object, whose documents are printed as they are read, however many."""
    print('{"reports": [', end="")
    for number, one in enumerate(found):
        print(", " if number else "", end="")
        if one.report is None:
            print(json.dumps({**_settings_json(one.convention), "problem": str(one.problem)}), end="")
            continue
        print(json.dumps(_report_json(one.report))[:-1] + ', "documents": [', end="")
        for index, (place, sums) in enumerate(one.documents()):
            print(", " if index else "", json.dumps({"place": place, **sums_json(sums)}), sep="", end="")
        print("]}", end="")
    print(f'], "num_unreadable": {found[0].reader.bad.num_bad}}}')


def _settings_json(convention: Convention) -> dict[str, object]:
    return {"convention": convention.name, "context": convention.context, "stride": convention.stride}


def _report_json(report: PerplexityReport) -> dict[str, Any]:
    return {
        **_settings_json(report.convention),
        **sums_json(report.sums),
        "intervals": {
            "units": report.interval_units,
            "num_units": report.num_units,
            "nats_per_token": _pair(report.nats_interval),
            "perplexity": _pair(report.perplexity_interval),
            "bits_per_byte": _pair(report.bits_interval),
        },
        "num_documents": report.num_documents,
        "num_too_short": report.num_too_short,
        "num_windows": report.num_windows,
    }


def sums_json(sums: Sums) -> dict[str, object]:
    """The fields and the figures; null for what is no number."""
    names = ["total_nats", "num_tokens", "num_bytes", "nats_per_token", "perplexity", "bits_per_byte"]
    if sums.num_words is not None:
        names += ["num_words", "word_perplexity", "byte_perplexity"]
    return {name: _finite(getattr(sums, name)) for name in names}


def _pair(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_finite(interval.low), _finite(interval.high)]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


# ---- a page ----


def write_html(path: Path, found: list[Measured], *, title: str) -> None:
    """A page with the tables, how the tokens' surprisals are spread, and what context does to them."""
    write_page(path, title, _parts(found))


def _parts(found: list[Measured]) -> Iterator[Html]:
    reports = [one.report for one in found if one.report is not None]
    yield table(_COLUMNS, [_row(report) for report in reports])
    for one in found:
        name = one.convention.name
        problem = "" if one.problem is None else f" Here: {one.problem}."
        yield paragraph(f"{name}: {_RULES[name]}.{problem}")
    units = ", ".join(f"{report.num_units:,} {report.interval_units} ({report.convention.name})" for report in reports)
    yield paragraph(f"95 % intervals are drawn by the bootstrap over {units}.")
    yield plot(
        lambda axes: _draw_histogram(axes, reports),
        caption="Scored tokens by their surprisal: how many were expected, and how many came as a surprise.",
    )
    yield plot(
        lambda axes: _draw_context(axes, reports),
        caption="Mean surprisal by how many tokens the model saw before: conventions differ in that.",
    )
    for one, report in [(one, one.report) for one in found if one.report is not None]:
        if report.num_documents > 1:
            yield heading(f"Documents, {one.convention.name}")
            rows = [_document_row(*document) for document in islice(one.documents(), _MOST_ROWS)]
            yield table(_DOCUMENT_COLUMNS, rows)
            if report.num_documents > _MOST_ROWS:
                yield paragraph(f"and {report.num_documents - _MOST_ROWS:,} more")


def _draw_histogram(axes: Axes, reports: list[PerplexityReport]) -> None:
    edges = np.arange(NUM_BINS + 1) * BIN_NATS
    for report in reports:
        shares = report.accumulator.histogram / report.accumulator.histogram.sum()
        axes.stairs(shares, edges, label=report.convention.name)
    axes.set_xlabel("surprisal, nats")
    axes.set_ylabel("share of the tokens")
    axes.legend(frameon=False)


def _draw_context(axes: Axes, reports: list[PerplexityReport]) -> None:
    for report in reports:
        nats, counts = report.accumulator.by_context
        used = counts > 0
        axes.plot(2.0 ** np.flatnonzero(used), nats[used] / counts[used], marker="o", label=report.convention.name)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens before, at least")
    axes.set_ylabel("nats per token")
    axes.legend(frameon=False)
