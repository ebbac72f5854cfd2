"""Values of the newest GGUF blocks, Q1_0 and Q2_0, which the gguf package cannot read; as ggml's source defines them.

A block is an fp16 scale and integers of 1 or 2 bits, the lowest bits of a byte first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class LowBits(NamedTuple):
    """A weight is scale * (factor * integer - 1)."""

    num_bits: int
    num_values: int
    factor: int


LOW_BITS = {"Q1_0": LowBits(1, 128, 2), "Q2_0": LowBits(2, 64, 1)}


def dequantize_low_bits(encoded: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.float32]:
    """Return the values of whole blocks one after the other, (values,) float32."""
    num_bits, num_values, factor = LOW_BITS[kind]
    blocks = encoded.reshape(-1, 2 + num_values * num_bits // 8)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    shifts = np.arange(0, 8, num_bits, dtype=np.uint8)
    integers = (blocks[:, 2:, None] >> shifts & np.uint8(2**num_bits - 1)).reshape(len(blocks), num_values)
    values: npt.NDArray[np.float32] = (integers.astype(np.float32) * np.float32(factor) - 1) * scales
    return values.reshape(-1)
