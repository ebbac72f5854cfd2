"""Figures as the page writes them (format.js), written in Python."""

from __future__ import annotations

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(probability: float) -> str:
    """Return a probability as a percentage."""
    if probability >= 1e-4 or probability == 0:
        return f"{100 * probability:.2f} %"
    digits, power = f"{100 * probability:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPTS)} %"
