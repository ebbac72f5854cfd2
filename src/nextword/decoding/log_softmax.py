"""Log-softmax in numpy: logits in, natural logarithms of probabilities out. The only one outside the backends."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.float32], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the log-probabilities of one row of finite or -inf logits, computed in float64: (V,) -> (V,)."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    if temperature != 1.0:
        shifted /= temperature
    shifted -= math.log(np.exp(shifted).sum())
    return shifted


def log_normalizers(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return log sum exp(logits) of each row: (rows, V) -> (rows,). A logit minus it is a log-probability.

    The exponentials are float32, several times as fast, and their sum is float64: good to some 1e-7 nats.
    """
    largest = logits.max(axis=1, keepdims=True)
    log_sums: NDArray[np.float64] = np.log(np.exp(logits - largest).sum(axis=1, dtype=np.float64)) + largest[:, 0]
    return log_sums
