"""`Biases`: what is added to the logits of some tokens, as arrays: a request may name most of a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Biases(NamedTuple):
    """Token ids, and a number for each."""

    token_ids: NDArray[np.int64]
    values: NDArray[np.float32]


def biases_of(by_token_id: Mapping[int, float]) -> Biases:
    """Return the arrays of a mapping."""
    count = len(by_token_id)
    token_ids = np.fromiter(by_token_id, dtype=np.int64, count=count)
    return Biases(token_ids, np.fromiter(by_token_id.values(), dtype=np.float32, count=count))
