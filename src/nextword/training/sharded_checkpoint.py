"""Tensors of a checkpoint that several processes write and read together (torch.distributed.checkpoint).

Each process writes its shards to a safetensors file of its own. Any number of processes can read them, each what it
needs of any file. Of torch's formats it is the one that cannot run code when it is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from nextword.training.processes import Processes


def write_shards(folder: Path, tensors: Mapping[str, Tensor], processes: Processes) -> None:
    """Write the shards of this process; all call it. Raises OSError in all of them if one cannot write."""
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer, process_group=processes.group)
    except CheckpointException as error:
        raise OSError(None, _reason(error)) from None


def read_shards(
    folder: Path, memory_for: Callable[[str, torch.Size, torch.dtype], Tensor | None], processes: Processes
) -> dict[str, Tensor]:
    """Read tensors, each to the memory of `memory_for`; all call it. Raises OSError in all if one cannot read."""
    reader = HuggingFaceStorageReader(str(folder))
    tensors: dict[str, Tensor] = {}
    for name, stored in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(stored, TensorStorageMetadata)
        size, dtype = stored.size, stored.properties.dtype
        memory = memory_for(name, size, dtype)
        tensors[name] = torch.empty(size, dtype=dtype) if memory is None else memory
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # with one process it is
            load(tensors, storage_reader=reader, process_group=processes.group, no_dist=processes.group is None)
    except CheckpointException as error:
        raise OSError(None, _reason(error)) from None
    return tensors


def _reason(error: CheckpointException) -> str:
    rank, (cause, _) = next(iter(error.failures.items()))
    return f"process {rank}: {' '.join(str(cause).split())}"
