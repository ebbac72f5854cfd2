"""`Interruption`: defer SIGTERM and Ctrl-C until the running step has ended and a checkpoint is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from torch import distributed

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Context in which the first signal sets `is_requested`; a second one has its usual effect.

    While `is_paused`, between two steps, a signal raises KeyboardInterrupt at once. In other threads than the main one
    nothing changes: Python hands signals to none of them. Under torchrun, which passes on signals that Slurm may have
    sent to every process and kills what takes long, every signal is only noted.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self.is_paused = False
        """True while the caller's code runs between two steps."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        if _is_under_torchrun():
            return
        self._restore()
        if self.is_paused:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        if threading.current_thread() is not threading.main_thread():  # a generator that another thread has closed
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _is_under_torchrun() -> bool:
    return distributed.is_available() and distributed.is_torchelastic_launched()
