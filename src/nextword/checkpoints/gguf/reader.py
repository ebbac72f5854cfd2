"""`read_gguf`: map a GGUF file and read its metadata and tensor list; sizes and offsets are checked before use.

In: a file in either byte order. Out: `GGUFFile`, with tensors under the names in the file, values not read. It knows no
architecture.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.checkpoints.gguf.stored_strings import StoredStrings
from nextword.checkpoints.gguf.types import BLOCK_TYPES
from nextword.errors import CheckpointError
from nextword.input_file import FileMapping, map_file
from nextword.models.stored_tensor import FLOAT_DTYPES, StoredTensor
from nextword.native import native

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_STRUCTS = {
    order + form: struct.Struct(order + form)
    for order in "<>"
    for form in ("II", "QQ", "I", "IQ", *_SCALARS.values(), *(f"{count}Q" for count in range(1, _MAX_DIMENSIONS + 1)))
}
"""All that a header is read with. `struct` would keep those that it makes in between a file's lists of strings: one of
them holds on to a whole megabyte of Python's memory when the lists have gone."""
_MAX_NAME = 127
"""Longest name of a tensor: ggml has room for 63 characters, some of its users for 127."""
_HEADER_BYTES = 24
_VERSIONS = (2, 3)


class GGUFFile(NamedTuple):
    """Content of a GGUF file: metadata by key, tensors by name."""

    metadata: Mapping[str, object]
    """Numbers, strings, and lists of them; a list of strings is `StoredStrings` where the C++ core reads it."""
    tensors: dict[str, StoredTensor]
    size_bytes: int


def read_gguf(path: Path) -> GGUFFile:
    """Map a GGUF file of version 2 or 3. Raises CheckpointError naming file and field if it is damaged."""
    mapping = map_file(path, least=_HEADER_BYTES, kind="a GGUF file")
    data: npt.NDArray[np.uint8] = np.ndarray(len(mapping), np.uint8, mapping)
    cursor = _Cursor(data.data, mapping, order=_byte_order(data, path))
    cursor.unpack("II", "header")  # magic and version, which `_byte_order` has checked
    num_tensors, num_entries = cursor.unpack("QQ", "header")
    cursor.require(num_entries, 12, "metadata count")
    metadata: dict[str, object] = {}
    for _ in range(num_entries):
        key = cursor.string("metadata key")
        if key in metadata:
            raise CheckpointError(f"{path}: metadata key {_shown(key)} appears twice")
        metadata[key] = cursor.entry(f"metadata {_shown(key)}")
    cursor.require(num_tensors, 24, "tensor count")
    entries = [_tensor_entry(cursor) for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment <= 0 or alignment % 8:
        raise CheckpointError(f"{path}: general.alignment = {alignment!r}: must be a positive multiple of 8")
    start = -(-cursor.position // alignment) * alignment
    tensors = _tensors(path, data[start:], entries, alignment, cursor.order)
    mapping.require_unchanged()
    return GGUFFile(metadata, tensors, len(data))


def _byte_order(data: npt.NDArray[np.uint8], path: Path) -> str:
    """Return the byte order of a file, "<" or ">" as in `struct`: the one in which its version is a small number."""
    magic, version = bytes(data[:4]), bytes(data[4:8])
    for order, name in (("<", "little"), (">", "big")):
        if magic == b"GGUF" and int.from_bytes(version, name) in _VERSIONS:  # type: ignore[arg-type]
            return order
    raise CheckpointError(
        f"{path}: begins with {magic!r}, version {int.from_bytes(version, 'little')}; GGUF of version 2 or 3 is read"
    )


def _shown(name: str) -> str:
    """Format a name of a file for a message: one line, not endless."""
    return repr(name) if len(name) <= _MAX_NAME else repr(name[:_MAX_NAME] + "...")


class _Cursor:
    """Reading position in the header; never reads past the end of the file."""

    def __init__(self, data: memoryview, mapping: FileMapping, *, order: str) -> None:
        self.data, self.order, self.position = data, order, 0
        self.path, self._mapping = mapping.path, mapping

    def require(self, count: int, size: int, field: str) -> None:
        """Raise CheckpointError if `count` items of at least `size` bytes do not fit into the rest of the file."""
        if count * size > len(self.data) - self.position:
            raise CheckpointError(f"{self.path}: {field} goes past the end of the file, which is truncated or damaged")

    def unpack(self, form: str, field: str) -> tuple[int, ...]:
        unpacker = _STRUCTS[self.order + form]
        self.require(1, unpacker.size, field)
        values = unpacker.unpack_from(self.data, self.position)
        self.position += unpacker.size
        return values

    def string(self, field: str) -> str:
        return self.strings(1, field)[0]

    def strings(self, count: int, field: str) -> list[str]:
        """Read `count` strings, by the C++ core where it was built: a vocabulary has a hundred thousand."""
        self.require(count, 8, field)
        if native is not None and self.order == "<":
            with contextlib.suppress(ValueError):  # damage, which is named below
                read, self.position = native.read_strings(self.data, self.position, count)
                return list[str](read)
        unpack_length = _STRUCTS[self.order + "Q"].unpack_from
        data, position, end = self.data, self.position, len(self.data)
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

    def stored_strings(self, count: int, field: str) -> list[str] | StoredStrings:
        """Check `count` strings that are read later; without the C++ core, and in big-endian files, read them now."""
        if native is not None and self.order == "<":
            with contextlib.suppress(ValueError):  # damage, which is named below
                first, self.position = self.position, native.skip_strings(self.data, self.position, count)
                return StoredStrings(native, self._mapping, first=first, count=count)
        return self.strings(count, field)

    def entry(self, field: str) -> object:
        """Read the value of a metadata entry, after its key; messages call it `field`."""
        (kind,) = self.unpack("I", field)
        if kind in _SCALARS:
            return self.unpack(_SCALARS[kind], field)[0]
        if kind == _STRING:
            return self.string(field)
        if kind != _ARRAY:
            raise CheckpointError(f"{self.path}: {field} has the unknown type {kind}; the file is damaged")
        item, count = self.unpack("IQ", field)
        if item == _STRING:
            return self.stored_strings(count, field)
        if item not in _SCALARS:
            raise CheckpointError(f"{self.path}: {field} is an array of type {item}, which is not read")
        form = self.order + _SCALARS[item]
        self.require(count, struct.calcsize(form), field)
        values: list[object] = np.frombuffer(self.data, form, count, self.position).tolist()
        self.position += count * struct.calcsize(form)
        return values


class _Entry(NamedTuple):
    """A tensor of the header: name, shape as PyTorch gives it, type number, offset in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def _tensor_entry(cursor: _Cursor) -> _Entry:
    name = cursor.string("tensor name")
    field = f"tensor {_shown(name)}"
    (num_dimensions,) = cursor.unpack("I", field)
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        raise CheckpointError(f"{cursor.path}: {field} has {num_dimensions} dimensions; the file is damaged")
    if len(name) > _MAX_NAME or not name.isprintable():
        raise CheckpointError(f"{cursor.path}: {field} is no name of at most {_MAX_NAME} printable characters")
    shape = cursor.unpack(f"{num_dimensions}Q", field)
    kind, offset = cursor.unpack("IQ", field)
    return _Entry(name, tuple(reversed(shape)), kind, offset)


def _tensors(
    path: Path, data: npt.NDArray[np.uint8], entries: list[_Entry], alignment: int, order: str
) -> dict[str, StoredTensor]:
    """Cut the values into tensors, which lie one after the other, each aligned: a wrong type would show as a gap."""
    tensors: dict[str, StoredTensor] = {}
    expected = 0
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
        if entry.offset != expected:
            raise CheckpointError(
                f"{path}: tensor {entry.name!r}: offset {entry.offset}, not {expected}, where those before it end; "
                "the file is damaged or its types are wrong"
            )
        end = entry.offset + size
        if end > len(data):
            raise CheckpointError(
                f"{path}: tensor {entry.name!r} goes past the end of the file, which is truncated or damaged"
            )
        values = _values(path, entry, kind, data[entry.offset : end], order)
        tensors[entry.name] = StoredTensor(entry.name, kind, entry.shape, values)
        expected = -(-end // alignment) * alignment
    return tensors


def _values(path: Path, entry: _Entry, kind: str, raw: npt.NDArray[np.uint8], order: str) -> npt.NDArray[np.generic]:
    """Return the encoded values of a tensor: a view of the file, or a copy if the file is big-endian."""
    if kind not in FLOAT_DTYPES:
        if order == ">":
            raise CheckpointError(
                f"{path}: tensor {entry.name!r} has blocks of type {kind} in a big-endian file, which are not read; "
                "convert the file with the gguf package: gguf-convert-endian FILE little"
            )
        return raw.reshape(*entry.shape[:-1], -1)
    values: npt.NDArray[np.generic] = raw.view(FLOAT_DTYPES[kind]).reshape(entry.shape)
    return values.byteswap() if order == ">" else values
