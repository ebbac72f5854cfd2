"""`StoredTensor`: a named tensor in a memory-mapped file, float or quantised, read on demand.

In: a numpy view of the file's bytes. Out: float32 values, rows, transposes and joins of such tensors, still lazy where
the layout allows it. This module knows how values are encoded, not which file they come from or what they mean.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from nextword.errors import CheckpointError
from nextword.input_file import FileMapping
from nextword.models.low_bits import LOW_BITS, dequantize_low_bits

FloatDtype = Literal["F32", "F16", "BF16"]

FLOAT_DTYPES: dict[str, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Unquantised encodings of weights, with the numpy type of their elements (BF16 as its 16 bits)."""

_VALUES_AT_ONCE = 2**18
"""Values dequantised in one call: enough to outweigh its overhead, few enough for the processor's cache (1 MiB)."""


@dataclass(frozen=True)
class StoredTensor:
    """Named tensor in a memory-mapped file; values are read on demand."""

    name: str
    dtype: str
    """Encoding: "F32", "F16", "BF16", or a GGUF quantisation such as "Q4_1", "Q8_0", "Q6_K"."""
    shape: tuple[int, ...]
    """Shape as in PyTorch: (out_features, in_features) for a matrix."""
    stored: npt.NDArray[np.generic]
    """Encoded values as they lie in a file or in memory: of the type of FLOAT_DTYPES; if quantised, bytes of rows,
    (*shape[:-1], bytes per row) uint8."""
    order: npt.NDArray[np.intp] | None = None
    """Rows of `stored` that the tensor has, copied when they are first used; None: all, where they lie."""

    @functools.cached_property
    def data(self) -> npt.NDArray[np.generic]:
        """Encoded values of the tensor's own rows, in their order."""
        if self.order is None:
            return self.stored
        data = self.stored[self.order]
        self.require_unchanged()
        return data

    @property
    def is_quantized(self) -> bool:
        """True if rows are blocks of a GGUF quantisation rather than numbers."""
        return self.dtype not in FLOAT_DTYPES

    @property
    def num_elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def to_float32(self) -> npt.NDArray[np.float32]:
        """Return the values, `shape` float32; a view if the file holds float32 itself.

        Raises CheckpointError for an encoding that neither the gguf package nor we can dequantise.
        """
        if self.dtype == "F32":
            return cast("npt.NDArray[np.float32]", self.data)
        if self.dtype == "F16":
            values = self.data.astype(np.float32)
        elif self.dtype == "BF16":
            # A bfloat16 is the upper half of the float32 of the same value.
            values = (self.data.astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            values = self._dequantized()
        self.require_unchanged()
        return values

    def encoded_as(self, dtype: FloatDtype) -> StoredTensor:
        """Return the tensor encoded as `dtype`, each value rounded to nearest, ties to even.

        Raises CheckpointError if a finite value is beyond the range of `dtype`.
        """
        if self.dtype == dtype:
            return self
        values = self.to_float32()
        if dtype == "F32":
            return StoredTensor(self.name, dtype, self.shape, values)
        encoded = _rounded(self.name, values, dtype)
        if np.any(np.isinf(encoded.to_float32()) & np.isfinite(values)):
            raise CheckpointError(f"tensor {self.name}: has values beyond the range of {dtype}; store it as F32")
        self.require_unchanged()
        return encoded

    def is_exact_as(self, dtype: FloatDtype) -> bool:
        """Return True if `dtype` holds every value as it is."""
        if dtype in (self.dtype, "F32"):
            return True
        values = self.to_float32().reshape(-1)
        parts = (values[start : start + _VALUES_AT_ONCE] for start in range(0, len(values), _VALUES_AT_ONCE))
        is_exact = all(
            np.array_equal(part, _rounded(self.name, part, dtype).to_float32(), equal_nan=True) for part in parts
        )
        self.require_unchanged()
        return is_exact

    def renamed(self, name: str) -> StoredTensor:
        """Return the tensor under another name."""
        return dataclasses.replace(self, name=name)

    def take_rows(self, rows: npt.NDArray[np.intp] | slice) -> StoredTensor:
        """Return the given rows (first axis) in the order given; rows of a quantised tensor are encoded one by one.

        Rows that lie in a mapped file are copied when they are first used.
        """
        if self.order is None and (isinstance(rows, slice) or self._mapping() is None):
            stored = self.stored[rows]
            return StoredTensor(self.name, self.dtype, stored.shape[:1] + self.shape[1:], stored)
        order = (np.arange(self.shape[0]) if self.order is None else self.order)[rows]
        return StoredTensor(self.name, self.dtype, order.shape + self.shape[1:], self.stored, order)

    def reshaped(self, leading: tuple[int, ...]) -> StoredTensor:
        """Return the tensor with other axes before the last, such as (experts, rows) for (experts * rows,)."""
        data = self.data.reshape(*leading, self.data.shape[-1])
        return StoredTensor(self.name, self.dtype, (*data.shape[:-1], self.shape[-1]), data)

    def transposed(self) -> StoredTensor:
        """Return the transposed matrix; a quantised one becomes F32, since its blocks run along the rows."""
        if self.is_quantized:
            return StoredTensor(self.name, "F32", self.shape[::-1], self.to_float32().T)
        return StoredTensor(self.name, self.dtype, self.shape[::-1], self.data.T)

    @property
    def is_mapped(self) -> bool:
        """True if the values are used where they lie in a mapped file that is only read; False if they are copies."""
        return self.order is None and self._mapping() is not None

    def leave_memory(self) -> None:
        """Release the memory pages of the mapped file; a later use reads the file again. What was copied stays."""
        mapping = self._mapping()
        if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)

    def _mapping(self) -> mmap.mmap | None:
        owner = self.owner
        # Changes in a writable mapping would be lost.
        return owner if isinstance(owner, mmap.mmap) and memoryview(owner).readonly else None

    def require_unchanged(self) -> None:
        """Raise CheckpointError if the mapped file has changed, so that what was read of it may be wrong.

        Whatever makes a copy has asked; who reads a view asks afterwards.
        """
        owner = self.owner
        if isinstance(owner, FileMapping):
            owner.require_unchanged()

    @property
    def owner(self) -> object:
        """Holder of the memory of `stored`: the mapped file, where there is one."""
        owner: object = self.stored
        while isinstance(owner, np.ndarray):
            owner = owner.base
        return owner

    @property
    def place(self) -> str:
        """The tensor for a message: the path of its file, if it lies in one, and its name."""
        path = self.path
        return f"tensor {self.name}" if path is None else f"{path}: tensor {self.name}"

    @property
    def path(self) -> Path | None:
        """Path of the file in which it lies; None for values that were computed."""
        owner = self.owner
        return owner.path if isinstance(owner, FileMapping) else None

    def _dequantized(self) -> npt.NDArray[np.float32]:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        values = np.empty((math.prod(self.shape[:-1]), self.shape[-1]), dtype=np.float32)
        rows = self.data.reshape(len(values), -1)
        step = max(1, _VALUES_AT_ONCE // self.shape[-1])
        try:
            for start in range(0, len(values), step):
                chunk = values[start : start + step]
                # A row is a whole number of blocks, so several rows can be read as one long row.
                encoded = np.ascontiguousarray(rows[start : start + step]).view(np.uint8).reshape(1, -1)
                if self.dtype in LOW_BITS:
                    chunk[:] = dequantize_low_bits(encoded, self.dtype).reshape(chunk.shape)
                else:
                    chunk[:] = dequantize(encoded, GGMLQuantizationType[self.dtype]).reshape(chunk.shape)
        except (KeyError, NotImplementedError):
            raise CheckpointError(
                f"{self.place}: values of type {self.dtype} cannot be read; "
                "convert the model to F32, F16, BF16 or a common GGUF quantisation"
            ) from None
        return values.reshape(self.shape)


def _rounded(name: str, values: npt.NDArray[np.float32], dtype: FloatDtype) -> StoredTensor:
    """Round to 16 bits; what is beyond their range becomes infinite."""
    with np.errstate(over="ignore"):
        data = values.astype(np.float16) if dtype == "F16" else _bfloat16_bits(values)
    return StoredTensor(name, dtype, values.shape, data)


def _bfloat16_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round float32 to the 16 bits of bfloat16, to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet_nan = np.uint32(0x7FC0)
    return np.where(np.isnan(values), quiet_nan, rounded).astype(np.uint16)


def join_rows(name: str, parts: Sequence[StoredTensor]) -> StoredTensor:
    """Concatenate tensors along the first axis; parts of different encodings become F32.

    All parts have the same shape except for the first axis.
    """
    dtypes = {part.dtype for part in parts}
    same = len(dtypes) == 1
    data = np.concatenate([part.data if same else part.to_float32() for part in parts])
    for part in parts:
        part.require_unchanged()
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    return StoredTensor(name, dtypes.pop() if same else "F32", shape, data)
