"""Whether the output that a page shows is the real one.

Exactly, but for two things: "..." stands for any text, alone on a line for any lines; and decimal numbers may differ by
what another order of rounding in a model's arithmetic makes, 2 % of a probability.
"""

from __future__ import annotations

import re

_ELISION = "..."
_TOLERANCE = 0.02
_NUMBER = r"-?\d+\.\d+(?:e[-+]?\d+)?"
_PART = re.compile(rf"(?P<elision>\.\.\.)|(?P<space> *)(?P<number>{_NUMBER})")


def matches(shown: str, real: str) -> bool:
    """Whether the shown text stands for the real one."""
    return _lines_match(_trimmed(shown), _trimmed(real))


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def _lines_match(shown: list[str], real: list[str]) -> bool:
    if not shown:
        return not real
    if shown[0].strip() == _ELISION:
        return any(_lines_match(shown[1:], real[start:]) for start in range(len(real) + 1))
    return bool(real) and _line_matches(shown[0], real[0]) and _lines_match(shown[1:], real[1:])


def _line_matches(shown: str, real: str) -> bool:
    pattern, numbers, end = "", [], 0
    for part in _PART.finditer(shown):
        pattern += re.escape(shown[end : part.start()])
        if part["elision"]:
            pattern += ".*"
        else:
            pattern += f"{' +' if part['space'] else ''}({_NUMBER})"
            numbers.append(part["number"])
        end = part.end()
    found = re.fullmatch(pattern + re.escape(shown[end:]), real)
    return found is not None and all(map(_is_near, numbers, found.groups()))


def _is_near(shown: str, real: str) -> bool:
    """Negative numbers are log-probabilities: there 2 % of the probability is a distance of 0.02."""
    distance = abs(float(shown) - float(real))
    if shown.startswith("-"):
        return distance <= _TOLERANCE
    mantissa, _, exponent = shown.partition("e")
    last_digit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return distance <= _TOLERANCE * abs(float(real)) + last_digit / 2
