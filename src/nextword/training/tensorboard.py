"""`TensorBoardLog`: the numbers and texts of metrics.jsonl as TensorBoard's event files, where it is installed."""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

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
    """Writer of event files; does nothing where the tensorboard package is missing, or after the disk was full.

    It writes each event itself: the writers of PyTorch and TensorBoard do so in a thread, which prints a traceback and
    blocks the training when a file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_written = importlib.util.find_spec("tensorboard") is not None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, entry: Mapping[str, object]) -> None:
        """Add the numbers and texts of an entry. The first one purges later steps, which a resumed run repeats."""
        try:
            if self._is_written:
                self._write(entry)
        except OSError:
            self._is_written = False  # a record cut in the middle ends what TensorBoard reads

    def _write(self, entry: Mapping[str, object]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from torch.utils.tensorboard.summary import scalar, text

        step = entry["step"]
        if self._file is None:
            self._file = self._open()
            self._add(Event(step=step, file_version="brain.Event:2"))
            self._add(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        for key, name in _NAMES.items():
            if entry.get(key) is not None:
                self._add(Event(step=step, summary=scalar(name, entry[key])))  # type: ignore[no-untyped-call]
        if "sample" in entry:
            self._add(Event(step=step, summary=text("sample", entry["sample"])))  # type: ignore[no-untyped-call]

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        return (self._folder / name).open("ab", buffering=0)

    def _add(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        event.wall_time = time.time()
        RecordWriter(self._file).write(event.SerializeToString())
