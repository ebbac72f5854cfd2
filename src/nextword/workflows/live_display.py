"""`LiveDisplay`: show an object in a notebook cell and update it as it changes; does nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

_SECONDS_BETWEEN = 1.0
"""Seconds between two updates, so that drawing costs little time."""


class LiveDisplay:
    """Context in which `update` redraws the object in the output of the running cell."""

    def __init__(self, shown: object) -> None:
        self._shown = shown
        self._handle: Any = None
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        if _is_notebook():
            from IPython.display import display

            self._handle = display(self._shown, display_id=True)  # type: ignore[no-untyped-call]
            self._drawn_at = time.monotonic()
        return self

    def update(self) -> None:
        """Draw again, at most once a second."""
        if self._handle is not None and time.monotonic() >= self._drawn_at + _SECONDS_BETWEEN:
            self._handle.update(self._shown)
            self._drawn_at = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._handle is not None:
            self._handle.update(self._shown)


def _is_notebook() -> bool:
    """Return True in the kernel of a notebook; imports nothing that is not imported already."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")
