"""The tables of perplexities: sums and reports in, cells out."""

from __future__ import annotations

from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.perplexity import PerplexityReport
from nextword.evaluation.perplexity_accumulator import Sums

COLUMNS = (
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
DOCUMENT_COLUMNS = ("document", "tokens", "bytes", "nats/token", "perplexity", "bits/byte")


def convention_row(report: PerplexityReport) -> list[str]:
    """Return the cells of a convention, one for each of `COLUMNS`."""
    convention, figures = report.convention, _figures(report.sums)
    return [
        convention.name,
        str(convention.context),
        "" if convention.stride is None else str(convention.stride),
        *figures[:4],
        _interval(report.perplexity_interval),
        figures[4],
        _interval(report.bits_interval),
    ]


def document_row(place: str, sums: Sums) -> list[str]:
    """Return the cells of a document, one for each of `DOCUMENT_COLUMNS`."""
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
