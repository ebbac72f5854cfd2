"""Targets of `inference` on two cores."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bar import Bar
from benchmarks.inference_report import (
    AMX,
    FIRST_TOKEN,
    LOAD,
    PEAK_MEMORY,
    SMALL_IS_GOOD,
    Report,
    batch_figure,
    decode_figure,
    prefill_figure,
)
from benchmarks.sides import GEMMA_270M, OURS

Q4_K_M, F16 = "1B Q4_K_M", "1B F16"
AT_512, AT_2048 = decode_figure(512), decode_figure(2048)
FIXED_MB = 100
"""Megabytes of a process beside weights, keys and values."""


def bars(report: Report) -> Iterator[Bar]:
    """Return all targets, in the order of the table."""
    llamas = ("llama.cpp", "ik_llama.cpp")
    yield _beside(report, AT_512, 2.2, Q4_K_M, "llama.cpp")
    yield _share_of_memory(report, AT_512, 0.8, Q4_K_M)
    yield _beside(report, AT_512, 1.5, F16, "llama.cpp")
    yield _beside(report, prefill_figure(512), 4 if report.run.get(AMX) else 2.5, Q4_K_M, *llamas)
    yield _beside(report, prefill_figure(512), 1.3, "Q4_1")
    yield _beside(report, prefill_figure(2048), 1.7, "Q4_1")
    yield _beside(report, AT_512, 3, "Q4_1", "ik_llama.cpp")
    yield _beside(report, AT_2048, 3.5, "Q4_1", "ik_llama.cpp")
    yield _share_of_memory(report, AT_512, 0.75, "Q4_1")
    yield _beside(report, batch_figure(16), 5, "Q4_1")
    yield _beside(report, batch_figure(64), 3, "Q4_1")
    yield _beside(report, AT_512, 15, "bf16", "transformers")
    yield _beside(report, FIRST_TOKEN, 1, "Q4_1", "llama.cpp")
    yield Bar("Q4_1, peak memory / weights, keys and values", 1.25, _peak_ratio(report, "Q4_1"), is_most=True)
    for group, seconds in ((Q4_K_M, 1.0), (F16, 1.5)):
        yield Bar(f"{group}, seconds to load", seconds, _ours(report, LOAD, group), is_most=True)
    for group in (Q4_K_M, F16, GEMMA_270M):
        title = f"{group}, peak memory / weights, keys and values, without {FIXED_MB} MB"
        yield Bar(title, 1.1, _peak_ratio(report, group, FIXED_MB), is_most=True)


def _beside(report: Report, figure: str, wanted: float, group: str, *libraries: str) -> Bar:
    """Return our figure over the best line of these libraries with the same weights; without any, over all peers."""
    others = [
        values[figure]
        for title, values in report.medians.get(group, {}).items()
        if not title.startswith(OURS) and figure in values
        if not libraries or title.partition(" (")[0] in libraries
    ]
    peer = " and ".join(libraries) or "the best peer"
    small = figure in SMALL_IS_GOOD
    best = (min if small else max)(others, default=None)
    return Bar(f"{group}, {figure} / {peer}", wanted, _ratio(_ours(report, figure, group), best), is_most=small)


def _share_of_memory(report: Report, figure: str, wanted: float, group: str) -> Bar:
    limit = report.limits.get(group, {}).get(figure)
    return Bar(f"{group}, {figure} / what memory allows", wanted, _ratio(_ours(report, figure, group), limit))


def _peak_ratio(report: Report, group: str, fixed_mb: float = 0) -> float | None:
    num_bytes, peak = report.bytes_read.get(group, {}).get(AT_512), _ours(report, PEAK_MEMORY, group)
    return None if num_bytes is None or peak is None else (peak - fixed_mb) / (num_bytes / 1e6)


def _ours(report: Report, figure: str, group: str) -> float | None:
    return report.medians.get(group, {}).get(OURS, {}).get(figure)


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a / b
