"""`read_gguf`: map a GGUF file and read its metadata and tensor list; sizes and offsets are checked before use.

In: a file. Out: `GGUFFile`, with tensors under the names in the file, values not read. It knows no architecture.
"""

from __future__ import annotations

import contextlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextword.checkpoints.gguf.types import BLOCK_TYPES
from nextword.errors import CheckpointError
from nextword.models.stored_tensor import FLOAT_DTYPES, StoredTensor
from nextword.native import native

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_HEADER_BYTES = 24
_MAGIC = int.from_bytes(b"GGUF", "little")


@dataclass(frozen=True)
class GGUFFile:
    """Content of a GGUF file: metadata by key, tensors by name."""

    metadata: dict[str, object]
    tensors: dict[str, StoredTensor]


def read_gguf(path: Path) -> GGUFFile:
    """Map a GGUF file of version 2 or 3. Raises CheckpointError naming file and field if it is damaged."""
    data = _map(path)
    cursor = _Cursor(data.data, path)
    magic, version, num_tensors, num_entries = cursor.unpack("<IIQQ", "header")
    if magic != _MAGIC or version not in (2, 3):
        raise CheckpointError(f"{path}: begins with {magic:#x}, version {version}; GGUF of version 2 or 3 is read")
    cursor.require(num_entries, 12, "metadata count")
    metadata: dict[str, object] = {}
    for _ in range(num_entries):
        key = cursor.string("metadata key")
        if key in metadata:
            raise CheckpointError(f"{path}: metadata key {key!r} appears twice")
        metadata[key] = cursor.entry(f"metadata {key!r}")
    cursor.require(num_tensors, 24, "tensor count")
    entries = [_tensor_entry(cursor) for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
        raise CheckpointError(f"{path}: general.alignment = {alignment!r}: must be a positive multiple of 8")
    start = -(-cursor.position // alignment) * alignment
    return GGUFFile(metadata, _tensors(path, data, entries, start))


def _map(path: Path) -> npt.NDArray[np.uint8]:
    """Map the bytes of a file, (size,) uint8. Raises CheckpointError if it is too short for a header."""
    try:
        size = path.stat().st_size
        if size < _HEADER_BYTES:
            raise CheckpointError(f"{path}: {size} bytes are too few for a GGUF file; fetch it again")
        mapped: npt.NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    return mapped


class _Cursor:
    """Reading position in the header; never reads past the end of the file."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self.data, self.path, self.position = data, path, 0

    def require(self, count: int, size: int, field: str) -> None:
        """Raise CheckpointError if `count` items of at least `size` bytes do not fit into the rest of the file."""
        if count * size > len(self.data) - self.position:
            raise CheckpointError(f"{self.path}: {field} goes past the end of the file, which is truncated or damaged")

    def unpack(self, form: str, field: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        self.require(1, size, field)
        values = struct.unpack_from(form, self.data, self.position)
        self.position += size
        return values

    def string(self, field: str) -> str:
        return self.strings(1, field)[0]

    def strings(self, count: int, field: str) -> list[str]:
        """Read `count` strings, by the C++ core where it was built: a vocabulary has a hundred thousand."""
        self.require(count, 8, field)
        if native is not None:
            with contextlib.suppress(ValueError):  # damage, which is named below
                read, self.position = native.read_strings(self.data, self.position, count)
                return list[str](read)
        unpack_length, data, position, end = struct.Struct("<Q").unpack_from, self.data, self.position, len(self.data)
        strings: list[str] = []
        try:
            for _ in range(count):
                (length,) = unpack_length(data, position)
                first, position = position + 8, position + 8 + length
                if position > end:
                    self.require(length, 1, field)
                strings.append(str(data[first:position], "utf-8"))
        except struct.error:
            self.require(count, len(data), field)
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.path}: {field} is not UTF-8; the file is damaged") from None
        self.position = position
        return strings

    def entry(self, field: str) -> object:
        """Read the value of a metadata entry, after its key; messages call it `field`."""
        (kind,) = self.unpack("<I", field)
        if kind in _SCALARS:
            return self.unpack(_SCALARS[kind], field)[0]
        if kind == _STRING:
            return self.string(field)
        if kind != _ARRAY:
            raise CheckpointError(f"{self.path}: {field} has the unknown type {kind}; the file is damaged")
        item, count = self.unpack("<IQ", field)
        if item == _STRING:
            return self.strings(count, field)
        if item not in _SCALARS:
            raise CheckpointError(f"{self.path}: {field} is an array of type {item}, which is not read")
        form = _SCALARS[item]
        self.require(count, struct.calcsize(form), field)
        values: list[object] = np.frombuffer(self.data, form, count, self.position).tolist()
        self.position += count * struct.calcsize(form)
        return values


@dataclass(frozen=True)
class _Entry:
    """A tensor of the header: name, shape as PyTorch gives it, type number, offset in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def _tensor_entry(cursor: _Cursor) -> _Entry:
    name = cursor.string("tensor name")
    field = f"tensor {name!r}"
    (num_dimensions,) = cursor.unpack("<I", field)
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        raise CheckpointError(f"{cursor.path}: {field} has {num_dimensions} dimensions; the file is damaged")
    shape = cursor.unpack(f"<{num_dimensions}Q", field)
    kind, offset = cursor.unpack("<IQ", field)
    return _Entry(name, tuple(reversed(shape)), kind, offset)


def _tensors(path: Path, data: npt.NDArray[np.uint8], entries: list[_Entry], start: int) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    end = start
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.name in tensors:
            raise CheckpointError(f"{path}: tensor {entry.name!r} appears twice")
        if entry.kind not in BLOCK_TYPES:
            raise CheckpointError(f"{path}: tensor {entry.name!r} has the unknown type {entry.kind}")
        kind, block, block_bytes = BLOCK_TYPES[entry.kind]
        width = entry.shape[-1]
        if width % block or 0 in entry.shape:
            raise CheckpointError(f"{path}: tensor {entry.name!r}: shape {entry.shape} does not fit type {kind}")
        row_bytes = width // block * block_bytes
        size = math.prod(entry.shape[:-1]) * row_bytes
        first = start + entry.offset
        if first < end:
            raise CheckpointError(f"{path}: tensor {entry.name!r}: offset {entry.offset} lies in the tensor before it")
        if first + size > len(data):
            raise CheckpointError(
                f"{path}: tensor {entry.name!r} goes past the end of the file, which is truncated or damaged"
            )
        end = first + size
        raw = data[first:end]
        if kind in FLOAT_DTYPES:
            values: npt.NDArray[np.generic] = raw.view(FLOAT_DTYPES[kind]).reshape(entry.shape)
        else:
            values = raw.reshape(*entry.shape[:-1], row_bytes)
        tensors[entry.name] = StoredTensor(entry.name, kind, entry.shape, values)
    return tensors
