"""`Bar`: a target of a benchmark, with the value required, the value measured, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TITLE_WIDTH = 68


@dataclass(frozen=True)
class Bar:
    """Target of a figure and its measured value, None if a side was not measured."""

    title: str
    wanted: float
    value: float | None
    is_most: bool = False
    """True if less is better."""

    @property
    def verdict(self) -> str:
        """Verdict for the table."""
        if self.value is None:
            return "not measured"
        is_met = self.value <= self.wanted if self.is_most else self.value >= self.wanted
        return "met" if is_met else "missed"


def print_bars(bars: Iterable[Bar]) -> None:
    """Print a line for each target."""
    print(f"\n{'bar':{TITLE_WIDTH}} {'wanted':>10} {'measured':>10}")
    for bar in bars:
        sign = "<=" if bar.is_most else ">="
        value = "-" if bar.value is None else f"{bar.value:,.3g}"
        print(f"{bar.title:{TITLE_WIDTH}} {f'{sign} {bar.wanted:,g}':>10} {value:>10}  {bar.verdict}")
