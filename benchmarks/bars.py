"""Targets of `inference` on two cores."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bar import Bar
from benchmarks.inference_report import (
    BATCHES,
    PEAK_MEMORY,
    Report,
    batch_figure,
    decode_figure,
    prefill_figure,
)
from benchmarks.sides import OURS


def bars(report: Report) -> Iterator[Bar]:
    """Return all targets, in the order of the table."""
    at_512, at_2048 = decode_figure(512), decode_figure(2048)
    limit = report.limits.get("Q4_1", {}).get(at_512)
    yield _beside(report, at_512, 2.8, "Q4_1", "llama.cpp")
    yield _beside(report, at_512, 15, "bf16", "transformers")
    yield Bar("Q4_1, decode at 512 / what memory allows", 0.75, _ratio(_ours(report, at_512), limit))
    yield _beside(report, at_2048, 3.5, "Q4_1", "llama.cpp")
    yield _beside(report, at_512, 2.4, "Q8_0", "llama.cpp", ours="Q8_0")
    yield _beside(report, prefill_figure(512), 6.5, "Q4_1", "llama.cpp")
    yield _beside(report, prefill_figure(512), 1.7)
    yield _beside(report, prefill_figure(2048), 2)
    yield _beside(report, at_512, 2.1, "Q4_1", "ik_llama.cpp")
    yield _beside(report, at_2048, 4, "Q4_1", "ik_llama.cpp")
    yield _beside(report, prefill_figure(512), 1.6, "Q4_1", "ik_llama.cpp")
    many = batch_figure(16)
    yield Bar(
        f"Q4_1, 16 sequences at {BATCHES[16]} / one sequence", 4, _ratio(_ours(report, many), _ours(report, at_512))
    )
    yield _beside(report, many, 2)
    num_bytes = report.bytes_read.get("Q4_1", {}).get(at_512)
    needed = None if num_bytes is None else num_bytes / 1e6
    yield Bar(
        "Q4_1, peak memory / weights, keys and values", 1.25, _ratio(_ours(report, PEAK_MEMORY), needed), is_most=True
    )


def _beside(
    report: Report, figure: str, wanted: float, group: str | None = None, library: str | None = None, ours: str = "Q4_1"
) -> Bar:
    """Return our speed over the fastest line of a library with a group's weights, or over the fastest of all peers."""
    others = [
        values[figure]
        for name, sides in report.medians.items()
        for title, values in sides.items()
        if not title.startswith(OURS) and figure in values
        if group in (None, name) and (library is None or title.partition(" (")[0] == library)
    ]
    peer = "the best peer" if library is None else f"{library} {group}"
    return Bar(f"{ours}, {figure} / {peer}", wanted, _ratio(_ours(report, figure, ours), max(others, default=None)))


def _ours(report: Report, figure: str, group: str = "Q4_1") -> float | None:
    return report.medians.get(group, {}).get(OURS, {}).get(figure)


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a / b
