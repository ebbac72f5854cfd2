"""`Packing`: boundaries of the documents in the rows of a batch, in the form that the transformer uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Documents packed into rows of equal length; a row's end always ends a document."""

    positions: Tensor
    """Position of each token in its document, (B, T) int64."""
    num_positions: int
    """Largest position plus one."""
    lengths: tuple[int, ...]
    """Tokens of each document (or part of one), in the order of the B * T positions."""

    @staticmethod
    def of(
        positions: npt.NDArray[np.int64], document_ids: npt.NDArray[np.int64], *, device: torch.device | str = "cpu"
    ) -> Packing | None:
        """Build the packing from positions and document ids, both (B, T); None if every row is one document.

        The tokens of a document must be adjacent in a row.
        """
        starts = np.ones(document_ids.shape, dtype=bool)
        starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
        if np.count_nonzero(starts) == len(starts) and not positions[:, 0].any():
            return None
        lengths = np.diff(np.append(np.flatnonzero(starts), starts.size))
        return Packing(
            positions=torch.from_numpy(positions).to(device),
            num_positions=int(positions.max()) + 1,
            lengths=tuple(lengths.tolist()),
        )
