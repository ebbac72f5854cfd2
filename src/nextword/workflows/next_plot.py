"""`save_next_plot`: the distributions of the next token after each step as bars in one figure, a .png or .svg file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.checks import checked_arguments
from nextword.decoding.distribution import Distribution
from nextword.errors import RequestError
from nextword.html.plots import save_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = (".png", ".svg")
_COLOURS = ("#b8c4d6", "#5b8ff9", "#e8684a", "#5ad8a6", "#9270ca", "#f6bd16")
_LEAST_SHOWN = 0.005
"""Probability below which a bar gets no number, since the bar itself is too small to see."""


@checked_arguments
def save_next_plot(path: Path | str, prompt: str, steps: Mapping[str, Distribution], *, top: int = 10) -> None:
    """Draw the `top` most probable tokens, a bar for each step, as `LanguageModel.next_steps` gives them.

    The tokens are those of the first step. Raises RequestError for another format than .png or .svg, or if there are no
    steps or rows, MissingExtraError without matplotlib, DataError if writing fails.
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise RequestError(f"{path}: a plot ends in {' or '.join(_FORMATS)}")
    if not steps:
        raise RequestError("steps = {}: must hold at least one distribution")
    next(iter(steps.values())).table(top)  # raises for a number of rows that is none
    height = 1.2 + 0.13 * top * (1 + len(steps))
    save_plot(path, lambda axes: _draw(axes, prompt, steps, top), height=height)


def _draw(axes: Axes, prompt: str, steps: Mapping[str, Distribution], top: int) -> None:
    first = next(iter(steps.values()))
    rows = first.table(top).rows
    thickness = 0.84 / len(steps)
    for number, (name, step) in enumerate(steps.items()):
        probabilities = [math.exp(step.log_prob(row.token_id)) for row in rows]
        offset = (number - (len(steps) - 1) / 2) * thickness
        bars = axes.barh(
            [position + offset for position in range(len(rows))],
            probabilities,
            height=thickness,
            color=_COLOURS[number % len(_COLOURS)],
            label=f"{name.replace('_', '-')}: {len(step):,} tokens, entropy {step.entropy:.2f} nats",
        )
        labels = [f"{value:.2f}" if value >= _LEAST_SHOWN else "" for value in probabilities]
        axes.bar_label(bars, labels, padding=3, fontsize=7)
    axes.set_yticks(range(len(rows)), [_plain(repr(row.text or row.token_id)) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("probability")
    axes.set_title(f'the token after "{_end_of(prompt)}"', fontsize=11)
    axes.legend(loc="lower right", frameon=False)


def _end_of(prompt: str) -> str:
    """Return the end of a prompt as one short line."""
    line = " ".join(prompt.split())
    return _plain(line if len(line) <= 60 else f"... {line[-56:]}")


def _plain(text: str) -> str:
    """Escape the sign that matplotlib would read as the begin of a formula."""
    return text.replace("$", r"\$")
