"""Random rows of GGUF's blocks: every byte random, with weights of about the size of a model's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

from nextword.models.stored_tensor import StoredTensor

HALVES = {
    "Q8_0": (0,),
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "IQ4_NL": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_XS": (0,),
}
"""The types that the native backend computes on as they are, with the places of a block's fp16 numbers."""


def random_blocks(kind: str, rows: int, columns: int, *, seed: int = 0, spread: float = 0.06) -> StoredTensor:
    """A matrix of blocks; its values have the standard deviation `spread`, and both signs of scales occur."""
    random = np.random.default_rng(seed)
    num_values, num_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    blocks = random.integers(0, 256, (rows * columns // num_values, num_bytes), dtype=np.uint8)
    halves = random.uniform(0.5, 1, (len(HALVES[kind]), len(blocks))) * random.choice([-1, 1], len(blocks))
    put_halves(kind, blocks, halves)
    put_halves(kind, blocks, halves * (spread / values_of(kind, blocks).std()))
    return StoredTensor("blocks", kind, (rows, columns), blocks.reshape(rows, -1))


def put_halves(kind: str, blocks: npt.NDArray[np.uint8], values: npt.NDArray[np.float64]) -> None:
    """Set the fp16 numbers of all blocks, (numbers of a block, blocks)."""
    for at, halves in zip(HALVES[kind], values, strict=True):
        blocks[:, at : at + 2] = halves.astype("<f2")[:, None].view(np.uint8)


def values_of(kind: str, blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The gguf package's values of blocks."""
    values: npt.NDArray[np.float32] = dequantize(blocks, GGMLQuantizationType[kind])
    return values
