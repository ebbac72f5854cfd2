"""How surprised a model is by tokens: rows of logits and the tokens that came in, nats out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def surprisals(logits: NDArray[np.float32], targets: Sequence[int]) -> NDArray[np.float64]:
    """-log softmax(logits)[target] of each row, in nats, summed in float64: (rows, V) and (rows,) -> (rows,)."""
    chosen = logits[np.arange(len(targets)), np.asarray(targets)].astype(np.float64)
    nats: NDArray[np.float64] = log_normalizers(logits) - chosen
    return nats


def log_normalizers(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """log sum exp(logits) of each row, in float64: (rows, V) -> (rows,). A logit minus it is a log-probability."""
    largest = logits.max(axis=1, keepdims=True)
    log_sums: NDArray[np.float64] = np.log(np.exp(logits - largest).sum(axis=1, dtype=np.float64)) + largest[:, 0]
    return log_sums
