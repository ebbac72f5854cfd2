"""Safetensors files: eight bytes of header length, a JSON header, the values, one tensor after the other.

Reading maps the file and checks the whole header before any value is read: nothing is allocated for a size that is only
claimed by the header. Writing goes tensor by tensor. The module knows no model.
"""

from __future__ import annotations

import json
import math
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from nextword.atomic_file import write_atomically
from nextword.errors import CheckpointError
from nextword.input_file import map_file
from nextword.json_file import parse_json_object, read_json_object
from nextword.models.stored_tensor import FLOAT_DTYPES, FloatDtype, StoredTensor
from nextword.models.weights import Shape

_LARGEST_HEADER = 100_000_000
"""Limit of the format itself, in bytes."""
_DTYPES_BY_SIZE = {
    8: "F64 I64 U64 C64",
    4: "F32 I32 U32",
    2: "F16 BF16 I16 U16",
    1: "I8 U8 BOOL F8_E4M3 F8_E5M2 F8_E8M0",
}
"""Bytes per element -> type names of the format; types smaller than a byte are left out."""
_ITEM_BYTES = {name: size for size, names in _DTYPES_BY_SIZE.items() for name in names.split()}
_MAX_DIMENSIONS = 8

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Map the tensors of one file, by name. Raises CheckpointError naming file, tensor and field if it is damaged."""
    mapping = map_file(path, least=8, kind="a safetensors file")
    mapped: npt.NDArray[np.uint8] = np.ndarray(size := len(mapping), np.uint8, mapping)
    (header_length,) = struct.unpack("<Q", mapped[:8].tobytes())
    if header_length > min(_LARGEST_HEADER, size - 8):
        raise CheckpointError(
            f"{path}: header length is {header_length}, the file has {size} bytes: truncated, or no safetensors file"
        )
    header = parse_json_object(mapped[8 : 8 + header_length].tobytes(), source=f"{path}: header")
    header.pop("__metadata__", None)
    values = mapped[8 + header_length :]
    entries = [_entry(path, name, fields) for name, fields in header.items()]
    _require_contiguous(path, entries, len(values))
    mapping.require_unchanged()
    return {entry.name: entry.view(values) for entry in entries}


def open_safetensors_folder(folder: Path) -> tuple[dict[str, StoredTensor], int]:
    """Map the tensors of a folder, from model.safetensors or the shards of its index; return them and the files' bytes.

    Raises CheckpointError if a file is missing or damaged, or the index names files outside the folder or does not fit
    the shards.
    """
    path = folder / SINGLE_NAME
    if path.exists() and (folder / INDEX_NAME).exists():
        warnings.warn(f"{folder}: holds {SINGLE_NAME} and {INDEX_NAME}; {SINGLE_NAME} is used", stacklevel=4)
    if path.exists() or not (folder / INDEX_NAME).exists():
        return open_safetensors(path), path.stat().st_size
    index_path = folder / INDEX_NAME
    weight_map = read_json_object(index_path).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index_path}: weight_map is missing or no object; fetch the file again")
    for shard in weight_map.values():
        _require_plain_name(index_path, shard)
    shards = {shard: open_safetensors(folder / shard) for shard in sorted(set(weight_map.values()))}
    tensors: dict[str, StoredTensor] = {}
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise CheckpointError(f"{index_path}: weight_map puts {name} in {shard}, where it is not")
        tensors[name] = shards[shard][name]
    for shard, held in shards.items():
        for name in held:
            if name not in weight_map:
                warnings.warn(f"{folder / shard}: tensor {name} is not in {INDEX_NAME}, left out", stacklevel=4)
            elif weight_map[name] != shard:
                raise CheckpointError(f"{folder / shard}: tensor {name} is not what {INDEX_NAME} says of this file")
    return tensors, sum((folder / shard).stat().st_size for shard in shards)


def write_safetensors(
    path: Path, tensors: Mapping[str, StoredTensor], *, shapes: Mapping[str, Shape], dtype: FloatDtype
) -> None:
    """Write the tensors that `shapes` names, in its order, as `dtype`, and flush them to the disk.

    Each tensor is read once, when its turn comes. Raises CheckpointError for a value beyond the range of F16.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + math.prod(shape) * FLOAT_DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # values begin at a multiple of 8 bytes
    with write_atomically(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in shapes:
            tensor = tensors[name]
            file.write(np.ascontiguousarray(tensor.encoded_as(dtype).data).data)
            tensor.require_unchanged()


@dataclass(frozen=True)
class _Entry:
    """A tensor of the header, each field checked on its own."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def view(self, values: npt.NDArray[np.uint8]) -> StoredTensor:
        data: npt.NDArray[np.generic] = values[self.start : self.end]
        if self.dtype in FLOAT_DTYPES:
            data = data.view(FLOAT_DTYPES[self.dtype]).reshape(self.shape)
        return StoredTensor(self.name, self.dtype, self.shape, data)


def _entry(path: Path, name: str, fields: object) -> _Entry:
    if not isinstance(fields, Mapping):
        raise CheckpointError(f"{path}: tensor {name}: the header has {type(fields).__name__}; expected an object")
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise CheckpointError(f"{path}: tensor {name}: dtype is {dtype!r}; known are {', '.join(_ITEM_BYTES)}")
    if not _is_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise CheckpointError(f"{path}: tensor {name}: shape is {str(shape)[:80]}; expected a list of sizes")
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{path}: tensor {name}: data_offsets is {str(offsets)[:80]}; expected [start, end]")
    start, end = offsets
    num_bytes = math.prod(shape) * _ITEM_BYTES[dtype]
    if end - start != num_bytes:
        raise CheckpointError(
            f"{path}: tensor {name}: data_offsets {start} to {end} are not the {num_bytes} bytes of {dtype} {shape}"
        )
    return _Entry(name, dtype, tuple(shape), start, end)


def _is_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _require_contiguous(path: Path, entries: list[_Entry], num_bytes: int) -> None:
    """Raise CheckpointError unless the tensors fill the file exactly: no overlap, no gap, nothing past the end."""
    for entry in entries:
        if entry.end > num_bytes:
            raise CheckpointError(
                f"{path}: tensor {entry.name}: data_offsets end at {entry.end}, the file holds {num_bytes} bytes of "
                "values: truncated; fetch it again"
            )
    position = 0
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != position:
            kind = "overlaps the tensor before it" if entry.start < position else "leaves a gap before it"
            raise CheckpointError(f"{path}: tensor {entry.name}: data_offsets start at {entry.start}, which {kind}")
        position = entry.end
    if position != num_bytes:
        raise CheckpointError(f"{path}: {num_bytes - position} bytes after the last tensor; fetch it again")


def _require_plain_name(index_path: Path, shard: object) -> None:
    is_plain = isinstance(shard, str) and shard.endswith(".safetensors") and not {"/", "\\", "\0"} & set(shard)
    if not is_plain:
        raise CheckpointError(
            f"{index_path}: weight_map names {str(shard)[:80]!r}; expected the name of a .safetensors file beside it"
        )
