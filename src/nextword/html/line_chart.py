"""`line_chart`: lines over a common axis as inline SVG, without any library: what a notebook can draw many times."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nextword.html.page import Html

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 24, 36
"""Margins for axes and legend, in the units of the drawing."""
_MAX_POINTS = 600
"""Points of one line: more would not be seen at this width."""
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """A line with its entry in the legend."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str = "#1f77b4"
    has_dots: bool = False
    """True if each point gets a dot."""


@dataclass(frozen=True)
class _Scale:
    """Map from values to the units of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> Iterator[float]:
        """Round numbers within the range, about five of them."""
        span = self.high - self.low or 1.0
        unit = 10.0 ** math.floor(math.log10(span / _TICKS))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit * _TICKS >= span)
        for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            yield number * step


def line_chart(lines: Sequence[Line], *, x_label: str, y_label: str) -> Html:
    """Draw the lines with axes and legend; lines without points are left out."""
    drawn = [line for line in lines if line.xs]
    if not drawn:
        return Html("")
    xs = [x for line in drawn for x in line.xs]
    ys = [y for line in drawn for y in line.ys]
    across = _Scale(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    up = _Scale(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(across, up, x_label, y_label), *_legend(drawn), *(_drawn(line, across, up) for line in drawn)]
    return Html(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(y_label)} over {html.escape(x_label)}" '
        f'style="width:100%;max-width:{_WIDTH}px;font:11px sans-serif">{"".join(parts)}</svg>'
    )


def _drawn(line: Line, across: _Scale, up: _Scale) -> str:
    every = math.ceil(len(line.xs) / _MAX_POINTS)
    points = list(zip(line.xs, line.ys, strict=True))
    kept = points[::every] if (len(points) - 1) % every == 0 else [*points[::every], points[-1]]
    path = " ".join(f"{across(x)},{up(y)}" for x, y in kept)
    dots = (f'<circle cx="{across(x)}" cy="{up(y)}" r="3" fill="{line.colour}"/>' for x, y in kept)
    drawn = f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>'
    return drawn + ("".join(dots) if line.has_dots else "")


def _axes(across: _Scale, up: _Scale, x_label: str, y_label: str) -> Iterator[str]:
    for y in up.ticks():
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(y)}" y2="{up(y)}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{up(y) + 4}" text-anchor="end" fill="#555">{y:g}</text>'
    for x in across.ticks():
        yield f'<text x="{across(x)}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle" fill="#555">{x:g}</text>'
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle" fill="#555">{html.escape(x_label)}</text>'
    yield (
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})" fill="#555">'
        f"{html.escape(y_label)}</text>"
    )


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    for number, line in enumerate(lines):
        left = _LEFT + 160 * number
        yield f'<rect x="{left}" y="6" width="14" height="4" fill="{line.colour}"/>'
        yield f'<text x="{left + 20}" y="12" fill="#555">{html.escape(line.name)}</text>'
