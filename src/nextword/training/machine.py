"""How fast this machine multiplies matrices, in which numbers: measured, since processors differ even in the order."""

from __future__ import annotations

import functools
import time

import torch

from nextword.models.config import ModelConfig
from nextword.models.weights import weight_shapes
from nextword.training.recipe import Precision

_SIZE = 1536
"""Rows and columns: past the size from which the rate stays the same, and done in a fraction of a second."""
_TRIALS = 3
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@functools.cache
def peak_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, the best of a few trials."""
    left = torch.ones(_SIZE, _SIZE, dtype=dtype)
    torch.mm(left, left)
    times = []
    for _ in range(_TRIALS):
        start = time.perf_counter()
        torch.mm(left, left)
        times.append(time.perf_counter() - start)
    return 2 * _SIZE**3 / min(times)


def choose_dtype(precision: Precision) -> torch.dtype:
    """The type that a precision means; for auto the one with the faster products, at equal speed the finer one."""
    if precision != "auto":
        return DTYPES[precision]
    return max((torch.float32, torch.bfloat16), key=peak_rate)


def operations_per_token(config: ModelConfig, *, length: int, trained_share: float = 1.0) -> float:
    """Floating-point operations of a training step for each token of documents of `length` tokens.

    Two for each weight of a matrix forward, two for the gradient of what went in, two for that of what is trained;
    attention by the same count over the positions that it sees, half of the document on average.
    """
    shapes = weight_shapes(config)
    lookups = 0 if config.is_tied else config.vocab_size * config.hidden_size
    matrices = sum(shape[0] * shape[1] for shape in shapes.values() if len(shape) == 2) - lookups
    if config.rope is None:
        matrices -= config.max_seq_len * config.hidden_size
    attention = 2 * config.num_layers * config.num_heads * config.head_dim * (length / 2)
    return (4 + 2 * trained_share) * matrices + 6 * attention
