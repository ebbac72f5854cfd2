"""`Batch`: what one step of training sees, as numpy arrays; and the contract of whoever gives batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

IGNORED = -100
"""A target that carries no loss, as PyTorch's cross-entropy numbers it."""
PADDING_DOCUMENT = -1
"""The document id of positions behind the last document of a row."""

TokenArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B rows of T tokens; a row can hold several documents, which do not see each other. All arrays: (B, T)."""

    token_ids: TokenArray
    targets: TokenArray
    """The token after the one at the same place, in the same document; IGNORED where there is no loss."""
    positions: TokenArray
    """Place within the document; 0 at its beginning, and on padding."""
    document_ids: TokenArray
    """Equal numbers within a row are one document; PADDING_DOCUMENT is none."""
    places: tuple[str, ...] = ()
    """Where the documents stood, for messages."""


class BatchSource(Protocol):
    """Batches without end, whose order depends on the settings alone: not on threads, and not on interruptions."""

    def next_batch(self) -> Batch:
        """The batch after the one given last."""

    def state(self) -> dict[str, object]:
        """Where the source stands, as plain JSON."""

    def resume(self, state: Mapping[str, object]) -> None:
        """Go where `state` was taken: the next batch is the one that followed. Raises DataError for other data."""
