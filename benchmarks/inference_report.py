"""Report of `inference` as tables, JSON and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sides import OURS

PREFILLS = (32, 512, 2048)
CONTEXTS = (128, 512, 2048)
BATCHES = (4, 16, 64)
LOAD, FIRST_TOKEN, PEAK_MEMORY, SAME_TOKEN = "load, s", "first token, s", "peak MB", "same tokens"
MEMORY = "memory's limit"
SMALL_IS_GOOD = (LOAD, FIRST_TOKEN, PEAK_MEMORY)
AMX = "AMX"
"""Name in `Report.run`: True if the processor has it."""
TITLE_WIDTH, CELL_WIDTH = 30, 16
LEGEND = (
    "tokens/s. In brackets: for ours, the share of what memory allows; for others, how many times as good ours is.\n"
    "Sequences of a batch begin with 128, 512 and 32 tokens each, of the larger models with 128, 128 and 32. load:\n"
    "seconds until all weights are ready, libraries imported; first token: from the start of a fresh process, prompt\n"
    "of 20; peak MB: of that process after a prompt of 512; same tokens: how often the first token after a prompt is\n"
    "that of transformers in bf16."
)

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """Medians of a run."""

    run: Mapping[str, object]
    """Machine, versions and settings."""
    medians: Mapping[str, Mapping[str, Figures]]
    """Figures by group and side, ours first in each group."""
    limits: Mapping[str, Figures]
    """Tokens/s at the memory's bandwidth, by group."""
    bytes_read: Mapping[str, Mapping[str, int]]
    """Bytes of weights, keys and values in a step, by group."""
    failures: Sequence[str]


def prefill_figure(length: int) -> str:
    """The name of a figure."""
    return f"prefill {length:,}"


def decode_figure(context: int) -> str:
    """The name of a figure."""
    return f"decode at {context:,}"


def batch_figure(num_sequences: int) -> str:
    """The name of a figure."""
    return f"{num_sequences} sequences"


TABLES = (
    [*map(prefill_figure, PREFILLS), *map(decode_figure, CONTEXTS)],
    [*map(batch_figure, BATCHES), LOAD, FIRST_TOKEN, PEAK_MEMORY, SAME_TOKEN],
)


def print_tables(report: Report) -> None:
    """Print two tables, with a block for each group."""
    for figures in TABLES:
        print("\n" + " " * TITLE_WIDTH + "".join(f"{figure:>{CELL_WIDTH}}" for figure in figures))
        for group, sides in report.medians.items():
            if sides:
                print(f"-- {group}")
                print_block(figures, sides, report.limits.get(group, {}), report.bytes_read.get(group, {}))
    print(
        "\n" + "\n".join([LEGEND, *report.failures, ", ".join(f"{name} {value}" for name, value in report.run.items())])
    )


def print_block(figures: Sequence[str], sides: Mapping[str, Figures], limit: Figures, bytes_read: Figures) -> None:
    """Print bytes of a step and the memory's limit, a line for each side, then ours over the best of the others."""
    if any(figure in limit for figure in figures):
        megabytes = [f"{bytes_read[figure] / 1e6:.0f} MB" if figure in bytes_read else "" for figure in figures]
        print_line("a step reads", megabytes)
        print_line(MEMORY, [number(figure, limit.get(figure)) for figure in figures])
    ours = sides.get(OURS, {})
    for title, values in sides.items():
        print_line(title, [cell(figure, title, values.get(figure), ours, limit) for figure in figures])
    others = [values for title, values in sides.items() if not title.startswith(OURS)]
    best = {figure: ratios(figure, ours, others) for figure in figures}
    if any(best.values()):
        print_line("ours / best other", [f"{min(of):.2f}" if of else "" for of in best.values()])


def print_line(title: str, cells: Sequence[str]) -> None:
    """Print a line of a table."""
    print(f"{title:{TITLE_WIDTH}}" + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells))


def cell(figure: str, title: str, value: float | None, ours: Figures, limit: Figures) -> str:
    """A figure with its ratio."""
    if value is None:
        return "-"
    if title == OURS:
        return number(figure, value) + (f" ({value / limit[figure]:.0%})" if figure in limit else "")
    return number(figure, value) + "".join(f" ({ratio:.1f})" for ratio in ratios(figure, ours, [{figure: value}]))


def ratios(figure: str, ours: Figures, others: Sequence[Figures]) -> list[float]:
    """Return our figure over that of each other side that has it."""
    if figure not in ours or figure == SAME_TOKEN:
        return []
    values = [other[figure] for other in others if figure in other]
    return [value / ours[figure] if figure in SMALL_IS_GOOD else ours[figure] / value for value in values]


def number(figure: str, value: float | None) -> str:
    """Format a number with about three digits."""
    if value is None:
        return ""
    if figure == SAME_TOKEN:
        return f"{value:.0%}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def draw(path: Path, report: Report) -> None:
    """Draw a row of panels for each group: prefill by prompt, decoding by context, decoding by number of sequences."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [group for group, sides in report.medians.items() if sides]
    panels = {
        "prefill, by tokens of the prompt": {n: prefill_figure(n) for n in PREFILLS},
        "decoding, by tokens of the context": {n: decode_figure(n) for n in CONTEXTS},
        "decoding, by number of sequences": {1: decode_figure(128), **{n: batch_figure(n) for n in BATCHES}},
    }
    figure, axes = pyplot.subplots(len(groups), len(panels), figsize=(15, 4 * len(groups)), squeeze=False)
    for row, group in zip(axes, groups, strict=True):
        sides = {MEMORY: report.limits.get(group, {}), **report.medians[group]}
        for axis, (title, points) in zip(row, panels.items(), strict=True):
            for side, values in sides.items():
                known = {x: values[name] for x, name in points.items() if name in values}
                style = {OURS: "k-o", MEMORY: "k:"}.get(side, "-o")
                axis.plot(list(known), list(known.values()), style, label=side, markersize=4)
            axis.set(title=f"{group}: {title}", xscale="log", xticks=list(points), ylim=(0, None), ylabel="tokens/s")
            axis.set_xticks(list(points), [f"{x:,}" for x in points])
            axis.minorticks_off()
        row[1].legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
