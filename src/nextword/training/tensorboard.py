"""`TensorBoardLog`: the numbers and texts of metrics.jsonl as TensorBoard's event files, where it is installed."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

_NAMES = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_second": "tokens per second",
    "mfu": "MFU",
}
"""Key in metrics.jsonl -> curve."""


class TensorBoardLog:
    """Writer of event files; does nothing where the tensorboard package is missing, and ignores a full disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_installed = importlib.util.find_spec("tensorboard") is not None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the numbers and texts of an entry. The first one purges later steps, which a resumed run repeats."""
        if self._is_installed:
            with contextlib.suppress(OSError):
                self._write(entry)

    def _write(self, entry: Mapping[str, object]) -> None:
        step = entry["step"]
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        for key, name in _NAMES.items():
            if entry.get(key) is not None:
                self._writer.add_scalar(name, entry[key], step)
        if "sample" in entry:
            self._writer.add_text("sample", entry["sample"], step)
