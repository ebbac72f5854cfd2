"""`Bar`: a figure that a benchmark is held to: what is wanted, what was measured, and whether that is enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TITLE_WIDTH = 66


@dataclass(frozen=True)
class Bar:
    """One of them. `value` is None where a side was not measured."""

    title: str
    wanted: float
    value: float | None
    is_most: bool = False
    """Whether less is better."""

    @property
    def verdict(self) -> str:
        """For the table."""
        if self.value is None:
            return "not measured"
        is_met = self.value <= self.wanted if self.is_most else self.value >= self.wanted
        return "met" if is_met else "missed"


def print_bars(bars: Iterable[Bar]) -> None:
    """A line for each."""
    print(f"\n{'bar':{TITLE_WIDTH}} {'wanted':>10} {'measured':>10}")
    for bar in bars:
        sign = "<=" if bar.is_most else ">="
        value = "-" if bar.value is None else f"{bar.value:,.2f}"
        print(f"{bar.title:{TITLE_WIDTH}} {f'{sign} {bar.wanted:,g}':>10} {value:>10}  {bar.verdict}")
