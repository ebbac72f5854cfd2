"""Reading the typed values of a GGUF header one after the other, each held against the end of the file first."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Container
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from nextword.errors import CheckpointError

_NUMBERS: dict[int, str] = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "|b1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""Value type in the file -> numpy's name of it."""
_BOOL, _TEXT, _ARRAY = 7, 8, 9
_LONGEST_KEY = 65_535
"""In bytes; the format's own limit."""
_DEEPEST_ARRAY = 4
_LENGTH = struct.Struct("<Q")


class GGUFCursor:
    """A position in a mapped header. All methods raise CheckpointError naming file and field."""

    def __init__(self, mapped: mmap.mmap, path: Path, *, position: int) -> None:
        self.position = position
        self._mapped = mapped
        self._size = len(mapped)
        self._path = path

    def refuse(self, field: str, reason: str) -> NoReturn:
        """Raise the CheckpointError that names file and field."""
        raise CheckpointError(f"{self._path}: {field[:200]} {reason}")

    def number(self, field: str, layout: str) -> int:
        """A whole number in the layout of the struct module."""
        self._require(field, struct.calcsize(layout))
        (value,) = struct.unpack_from(layout, self._mapped, self.position)
        self.position += struct.calcsize(layout)
        return int(value)

    def count(self, field: str, *, least_bytes: int) -> int:
        """How many things follow, of at least so many bytes each."""
        count = self.number(field, "<Q")
        if count * least_bytes > self._size - self.position:
            self.refuse(field, f"is {count}, more than the {self._size} bytes of the file can hold: damaged")
        return count

    def text(self, field: str) -> str:
        """A text: its length in bytes, then UTF-8."""
        length = self.count(field, least_bytes=1)
        encoded = self._mapped[self.position : self.position + length]
        self.position += length
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            self.refuse(field, "is no UTF-8 text: damaged")

    def key(self, field: str, taken: Container[str]) -> str:
        """A key that is not among those `taken`."""
        key = self.text(field)
        if not 0 < len(key) <= _LONGEST_KEY:
            self.refuse(field, f"has {len(key)} characters; expected 1 to {_LONGEST_KEY}")
        if key in taken:
            self.refuse(key, "appears twice in the metadata")
        return key

    def value(self, key: str) -> object:
        """The value of a key: its type, then what the type says."""
        return self._value(key, self.number(f"type of {key}", "<I"), depth=0)

    def _value(self, key: str, kind: int, depth: int) -> object:
        if kind in _NUMBERS:
            return self._numbers(key, kind, 1)[0].item()
        if kind == _TEXT:
            return self.text(key)
        if kind != _ARRAY or depth == _DEEPEST_ARRAY:
            self.refuse(key, f"has value type {kind}: unknown, or arrays nested too deeply; the file is damaged")
        return self._array(key, depth + 1)

    def _array(self, key: str, depth: int) -> object:
        kind = self.number(f"type of {key}", "<I")
        if kind in _NUMBERS:
            return self._numbers(key, kind, self.count(key, least_bytes=np.dtype(_NUMBERS[kind]).itemsize))
        count = self.count(key, least_bytes=_LENGTH.size)
        if kind == _TEXT:
            return self._texts(key, count)
        return [self._value(key, kind, depth) for _ in range(count)]

    def _numbers(self, key: str, kind: int, count: int) -> npt.NDArray[np.generic]:
        dtype = np.dtype(_NUMBERS[kind])
        self._require(key, count * dtype.itemsize)
        values = self._mapped[self.position : self.position + count * dtype.itemsize]
        self.position += len(values)
        if kind == _BOOL and max(values, default=0) > 1:
            self.refuse(key, "has a truth value that is neither 0 nor 1: damaged")
        return np.frombuffer(values, dtype=dtype)

    def _texts(self, key: str, count: int) -> list[str]:
        """Many texts in one loop without calls of our own: a vocabulary has hundreds of thousands."""
        mapped, size, position = self._mapped, self._size, self.position
        read_length = _LENGTH.unpack_from
        texts: list[str] = []
        try:
            for _ in range(count):
                start = position + 8
                position = start + read_length(mapped, position)[0]
                if position > size:
                    break
                texts.append(mapped[start:position].decode())
        except (struct.error, UnicodeDecodeError):
            self.refuse(f"{key}[{len(texts)}]", "is cut off or no UTF-8 text: damaged")
        if len(texts) != count:
            self.refuse(f"{key}[{len(texts)}]", f"ends at byte {position}, the file has {size}: truncated or damaged")
        self.position = position
        return texts

    def _require(self, field: str, num_bytes: int) -> None:
        if num_bytes > self._size - self.position:
            self.refuse(field, f"is cut off: the file has {self._size} bytes; fetch it again")
