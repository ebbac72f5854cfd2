"""The GGUF container, versions 2 and 3, little endian: metadata and mapped tensors out of one file.

Every count, length and offset is held against the size of the file before anything is made for it. It knows how a
file is laid out, not which keys or tensors a model has. Format: ggml's docs/gguf.md.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextword.checkpoints.gguf_cursor import GGUFCursor
from nextword.errors import CheckpointError
from nextword.models.stored_tensor import FLOAT_DTYPES, StoredTensor

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_LARGEST_ALIGNMENT = 65_536
_MOST_DIMENSIONS = 4
_LEAST_ENTRY_BYTES = 13
"""Of one metadata entry: the length of an empty key, a type, one byte of value. Tensor entries are longer."""

TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Number in the file -> name, values per block, bytes per block. A test holds it to the gguf package's table."""


@dataclass(frozen=True)
class GGUFFile:
    """A GGUF file, its header checked, its tensors mapped."""

    path: Path
    metadata: Mapping[str, object]
    """Texts as str, numbers as int, float or bool, arrays of texts as list[str], of numbers as numpy arrays."""
    tensors: Mapping[str, StoredTensor]
    """By the file's names, shapes as PyTorch shows them (the file lists the fastest axis first)."""
    size_bytes: int


def read_gguf_file(path: Path) -> GGUFFile:
    """Map a file and read its header. Raises CheckpointError naming the file and the field that is damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
            if head != MAGIC:
                raise CheckpointError(f"{path}: begins with {head!r}, a GGUF file with {MAGIC!r}")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    cursor = GGUFCursor(mapped, path, position=len(MAGIC))
    _check_version(cursor, path)
    num_tensors = cursor.count("tensor count", least_bytes=_LEAST_ENTRY_BYTES)
    num_entries = cursor.count("metadata count", least_bytes=_LEAST_ENTRY_BYTES)
    metadata: dict[str, object] = {}
    for number in range(num_entries):
        key = cursor.key(f"metadata key {number}", metadata)
        metadata[key] = cursor.value(key)
    alignment = _alignment(metadata, path)
    infos = [_read_tensor_info(cursor, number) for number in range(num_tensors)]
    values_start = -(-cursor.position // alignment) * alignment
    _check_places(infos, alignment, len(mapped) - values_start, path)
    values = np.frombuffer(mapped, dtype=np.uint8)[values_start:]
    return GGUFFile(path, metadata, {info.name: info.view(values) for info in infos}, len(mapped))


@dataclass(frozen=True)
class _TensorInfo:
    """One tensor as the header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    row_bytes: int
    offset: int
    """From the beginning of the values."""

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape[:-1]) * self.row_bytes

    def view(self, values: npt.NDArray[np.uint8]) -> StoredTensor:
        data: npt.NDArray[np.generic] = values[self.offset : self.end]
        if self.dtype in FLOAT_DTYPES:
            data = data.view(FLOAT_DTYPES[self.dtype]).reshape(self.shape)
        else:
            data = data.reshape(*self.shape[:-1], self.row_bytes)
        return StoredTensor(self.name, self.dtype, self.shape, data)


def _check_version(cursor: GGUFCursor, path: Path) -> None:
    version = cursor.number("version", "<I")
    if version in _VERSIONS:
        return
    (swapped,) = struct.unpack(">I", struct.pack("<I", version))
    reason = "the file is big endian" if swapped in _VERSIONS else f"known are {_VERSIONS}"
    raise CheckpointError(f"{path}: version is {version}; {reason}; convert the model again")


def _alignment(metadata: Mapping[str, object], path: Path) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    is_size = type(alignment) is int and 0 < alignment <= _LARGEST_ALIGNMENT and alignment & (alignment - 1) == 0
    if not is_size:
        raise CheckpointError(f"{path}: general.alignment is {alignment!r}; expected a power of two")
    assert isinstance(alignment, int)
    return alignment


def _read_tensor_info(cursor: GGUFCursor, number: int) -> _TensorInfo:
    name = cursor.text(f"name of tensor {number}")
    field = f"tensor {name}"
    num_dimensions = cursor.number(f"{field}: number of dimensions", "<I")
    if not 1 <= num_dimensions <= _MOST_DIMENSIONS:
        cursor.refuse(field, f"has {num_dimensions} dimensions; expected 1 to {_MOST_DIMENSIONS}")
    shape = tuple(cursor.number(f"{field}: shape", "<Q") for _ in range(num_dimensions))[::-1]
    type_number = cursor.number(f"{field}: type", "<I")
    if type_number not in TENSOR_TYPES:
        cursor.refuse(field, f"has type {type_number}, which is unknown; the file is damaged or too new")
    dtype, block_values, block_bytes = TENSOR_TYPES[type_number]
    if min(shape) < 1 or math.prod(shape) >= 2**48 or shape[-1] % block_values:
        cursor.refuse(field, f"has shape {list(shape)}, not possible for {dtype}: rows are blocks of {block_values}")
    offset = cursor.number(f"{field}: offset", "<Q")
    return _TensorInfo(name, dtype, shape, shape[-1] // block_values * block_bytes, offset)


def _check_places(infos: list[_TensorInfo], alignment: int, num_bytes: int, path: Path) -> None:
    """Each name once, each tensor aligned, inside the file, and none on top of another."""
    names: set[str] = set()
    for info in infos:
        if info.name in names:
            raise CheckpointError(f"{path}: tensor {info.name} appears twice")
        names.add(info.name)
        if info.offset % alignment:
            raise CheckpointError(f"{path}: tensor {info.name}: offset {info.offset} is no multiple of {alignment}")
        if info.end > num_bytes:
            raise CheckpointError(
                f"{path}: tensor {info.name}: ends at byte {info.end} of the values, the file holds {num_bytes}: "
                "truncated; fetch it again"
            )
    position = 0
    for info in sorted(infos, key=lambda info: info.offset):
        if info.offset < position:
            raise CheckpointError(f"{path}: tensor {info.name}: offset {info.offset} overlaps the tensor before it")
        position = info.end
