"""Checkpoints: the state of a training run, from which it goes on as if it had never stopped.

One folder for each, `step-N`, written beside its place, brought to the disk, then renamed: what has the name is whole.
Tensors are in safetensors, everything else in JSON; nothing can run code when it is read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nextword.errors import CheckpointError
from nextword.json_file import read_json_object

_TENSORS_NAME = "state.safetensors"
_VALUES_NAME = "state.json"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class TrainingState:
    """What a run has to remember."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    """Plain JSON."""


def save_checkpoint(folder: Path, step: int, state: TrainingState) -> None:
    """Write `folder`/step-`step`, then remove older ones. Raises OSError if the disk refuses; what was there stays."""
    target = folder / f"step-{step:08d}"
    partial = folder / f".{target.name}.{uuid.uuid4().hex[:8]}{_PARTIAL}"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_partial(folder)
    try:
        partial.mkdir()
        _write_tensors(partial / _TENSORS_NAME, state.tensors)
        (partial / _VALUES_NAME).write_text(json.dumps(dict(state.values), indent=1, allow_nan=False))
        for path in (partial / _TENSORS_NAME, partial / _VALUES_NAME, partial):
            _sync(path)
        if target.exists():  # the same step, saved again at the end
            shutil.rmtree(target)
        partial.rename(target)
        _sync(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for older in _checkpoints(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint of a run; None if there is none."""
    return next(reversed(_checkpoints(folder)), None)


def load_checkpoint(path: Path) -> TrainingState:
    """Read a checkpoint. Raises CheckpointError if it is damaged."""
    try:
        return TrainingState(load_file(path / _TENSORS_NAME), read_json_object(path / _VALUES_NAME))
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: cannot be read ({reason}): delete it, and start again") from None


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8,}", path.name))


def _remove_partial(folder: Path) -> None:
    """Remove what runs that were killed while saving have left."""
    for path in folder.glob(f".*{_PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # a full disk comes as text
        raise OSError(None, " ".join(str(error).split())) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
