"""`Interruption`: SIGTERM and Ctrl-C noted rather than obeyed at once, so that a step can end and be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from torch import distributed

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which the first such signal sets `is_asked_for`; a second one acts as it would have before.

    Not so under torchrun, which passes on signals that Slurm may have sent to every process, and kills what takes long.
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python gives signals to no other
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_asked_for = True
        if not _is_under_torchrun():
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _is_under_torchrun() -> bool:
    return distributed.is_available() and distributed.is_torchelastic_launched()
