"""Text with coloured backgrounds on a terminal, with control characters made safe."""

from __future__ import annotations

import re

_RESET = "\033[0m"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but tabs and line ends: text must not move the cursor or ring the bell."""

SCALE = (None, 230, 223, 216, 209, 203)
"""Backgrounds of a terminal with 256 colours, from none to red."""
BETTER, WORSE = 151, 217
"""Green and red."""


def shown(text: str) -> str:
    """Return a text that is safe to print: control characters become U+FFFD."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def on_background(text: str, colour: int | None) -> str:
    """Return black text on one of the 256 colours, line by line, so that none extends to the edge of the screen."""
    if colour is None:
        return shown(text)
    start = f"\033[48;5;{colour};38;5;16m"
    return "\n".join(f"{start}{line}{_RESET}" if line else "" for line in shown(text).split("\n"))


def level(nats: float, *, step: float = 2.0) -> int:
    """Return the index in `SCALE` of a surprisal: one more for every `step` nats."""
    return min(int(nats / step), len(SCALE) - 1)
