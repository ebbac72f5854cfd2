"""Checkpoints: the state of a training run, from which it resumes with the same bits as an uninterrupted run.

Each is a folder `step-N`, written under another name, synced to the disk, then renamed: a folder of that name is
complete. Tensors are in safetensors, everything else in JSON; nothing can run code when it is read. One process writes
all tensors to `state.safetensors`, several write a file each; any number of processes reads either.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from nextword.errors import CheckpointError, os_reason
from nextword.json_file import read_json_object
from nextword.plain_text import printable
from nextword.training.processes import ALONE, Processes

MemoryFor = Callable[[str, torch.Size, torch.dtype], Tensor | None]
"""Function from name, size and dtype of a stored tensor to the tensor to load it into; None: a new, whole one."""

_TENSORS_NAME = "state.safetensors"
_VALUES_NAME = "state.json"
_FILES = "tensor_files"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class TrainingState:
    """State of a run."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    """Everything that is no tensor, as plain JSON."""


def save_checkpoint(folder: Path, step: int, state: TrainingState, processes: Processes = ALONE) -> None:
    """Write `folder`/step-`step`, then remove older ones; all processes call it.

    Raises OSError, in all of them, if writing fails; earlier checkpoints stay.
    """
    target = folder / f"step-{step:08d}"
    partial = processes.on_rank_zero(lambda: _new_partial(folder, target.name))
    try:
        _write_tensors(partial, state.tensors, processes)
        processes.on_rank_zero(lambda: _complete(partial, target, state.values))
    finally:
        if processes.is_rank_zero:
            shutil.rmtree(partial, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path | None:
    """Find the latest checkpoint of a run; None if there is none."""
    return next(reversed(_checkpoints(folder)), None)


def load_values(path: Path) -> dict[str, Any]:
    """Load the JSON values of a checkpoint. Raises CheckpointError if it is damaged."""
    values = read_json_object(path / _VALUES_NAME)
    names = values.pop(_FILES, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path / _VALUES_NAME}: {_FILES} is no list of names: delete the folder, start again")
    for name in names:
        if not (path / name).is_file():
            raise CheckpointError(f"{path}: {name} is missing: delete the folder, and start again")
    return values


def load_tensors(
    path: Path, memory_for: MemoryFor = lambda name, size, dtype: None, processes: Processes = ALONE
) -> dict[str, Tensor]:
    """Load the tensors of a checkpoint, each into the memory that `memory_for` returns; all processes call it.

    Raises CheckpointError if it is damaged.
    """
    try:
        if processes.world_size == 1 and (path / _TENSORS_NAME).exists():
            stored = path / _TENSORS_NAME
            is_text = printable(str(stored)) == str(stored)  # the library opens no other paths
            return load_file(stored) if is_text else load(stored.read_bytes())
        from nextword.training.sharded_checkpoint import read_shards

        return read_shards(path, memory_for, processes)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(os_reason(error) if isinstance(error, OSError) else error).split())
        raise CheckpointError(f"{path}: cannot be read ({reason}): delete it, and start again") from None


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8,}", path.name))


def _remove_partial(folder: Path) -> None:
    """Remove partial checkpoints of runs that were killed while saving."""
    for path in folder.glob(f".*{_PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


def _new_partial(folder: Path, name: str) -> Path:
    partial = folder / f".{name}.{uuid.uuid4().hex[:8]}{_PARTIAL}"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_partial(folder)
    partial.mkdir()
    return partial


def _write_tensors(partial: Path, tensors: Mapping[str, Tensor], processes: Processes) -> None:
    values = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    if processes.world_size > 1:
        from nextword.training.sharded_checkpoint import write_shards

        write_shards(partial, values, processes)
        return
    try:
        save_file(values, partial / _TENSORS_NAME)
    except SafetensorError as error:  # a full disk comes as text
        raise OSError(None, " ".join(str(error).split())) from None


def _complete(partial: Path, target: Path, values: Mapping[str, Any]) -> None:
    """Write the JSON values, sync all files, and rename the folder."""
    content = {**values, _FILES: sorted(path.name for path in partial.iterdir())}
    (partial / _VALUES_NAME).write_text(json.dumps(content, indent=1, allow_nan=False))
    for path in (*partial.iterdir(), partial):
        _sync(path)
    if target.exists():  # the same step, saved again at the end
        shutil.rmtree(target)
    partial.rename(target)
    _sync(target.parent)
    for older in _checkpoints(target.parent)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
