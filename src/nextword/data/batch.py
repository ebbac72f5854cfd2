"""`Batch`: the token ids and targets of a training step, as numpy arrays; `BatchSource`: an endless supply of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

IGNORED = -100
"""Target without loss, the `ignore_index` of PyTorch's cross-entropy."""
PADDING_DOCUMENT = -1
"""Document id of padding, behind the last document of a row."""

TokenArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B rows of T tokens; a row can hold several documents, which do not attend to each other. Arrays are (B, T)."""

    token_ids: TokenArray
    targets: TokenArray
    """Id of the next token of the same document; IGNORED where there is no loss."""
    positions: TokenArray
    """Position within the document; 0 at its first token, and on padding."""
    document_ids: TokenArray
    """Number of the document within its row; PADDING_DOCUMENT on padding."""
    places: tuple[str, ...] = ()
    """Sources of the documents (file and line), for messages."""


class BatchSource(Protocol):
    """Endless batches in an order that depends on the settings alone, not on threads or interruptions."""

    def next_batch(self) -> Batch:
        """Return the next batch."""

    def state(self) -> dict[str, object]:
        """Return the position in the data, as plain JSON, for `resume`."""

    def resume(self, state: Mapping[str, object]) -> None:
        """Continue with the batch that followed when `state` was taken. Raises DataError for other data."""
