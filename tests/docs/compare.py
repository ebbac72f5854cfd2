"""`matches`: the output that a page shows, and the real one, in; whether the page tells the truth, out.

It does if they are equal, but for two things: "..." stands for any text, alone on a line for any lines; and decimal
numbers may differ by 0.2 %, since another machine's libraries may round otherwise. The core gives the same bits
on every instruction set.
"""

from __future__ import annotations

import re

_ELISION = "..."
_TOLERANCE = 0.002
_NUMBER = r"-?\d+\.\d+(?:e[-+]?\d+)?"
_PART = re.compile(rf"(?P<elision>\.\.\.)|(?P<space> *)(?P<number>{_NUMBER})")


def matches(shown: str, real: str) -> bool:
    """Return True if the shown text stands for the real one."""
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
    """Compare numbers; negative ones are log-probabilities: 0.2 % of the probability is a distance of 0.002."""
    distance = abs(float(shown) - float(real))
    mantissa, _, exponent = shown.partition("e")
    last_digit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    scale = 1.0 if shown.startswith("-") else abs(float(real))
    return distance <= _TOLERANCE * scale + last_digit / 2
