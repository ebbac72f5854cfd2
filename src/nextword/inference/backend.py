"""`Backend`: token ids in, logits out, the KV cache inside. What the engine asks of an implementation.

A backend knows no text, no sampling and no requests; it holds the keys and values of many texts under handles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """Tokens that continue one text in a step."""

    cache_id: int
    token_ids: Sequence[int]
    num_logits: int
    """For how many of the last positions logits are wanted; 0 in the middle of a prompt."""


@dataclass(frozen=True)
class TokenScores:
    """What the rows of logits say of one given token each, (n,) every field; NaN for rows that are no distribution."""

    nats: npt.NDArray[np.float64]
    """Surprisal: -ln of the token's probability."""
    entropies: npt.NDArray[np.float64]
    """Of the whole distribution, in nats."""
    ranks: npt.NDArray[np.int32]
    """1 for the most probable token; of equal ones the lower id comes first."""
    largest: npt.NDArray[np.int32]
    """The most probable token."""


PAGE_POSITIONS = 32
"""The unit in which memory for keys and values is given out."""


class Backend(Protocol):
    """An implementation of the forward pass with its KV cache.

    The logits of a text must not depend, not in a single bit, on what else runs in the step.
    """

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""

    @property
    def max_seq_len(self) -> int:
        """Positions that one text may have."""

    @property
    def max_positions(self) -> int:
        """Positions that all open texts may have together, each counted in whole pages of `PAGE_POSITIONS`."""

    def open_cache(self, prompt: Sequence[int] = ()) -> int:
        """The handle of a new place in the KV cache, where a beginning of `prompt` (never all) may stand already."""

    def cache_length(self, cache_id: int) -> int:
        """Positions that stand in a place."""

    def fork_cache(self, cache_id: int) -> int:
        """The handle of a copy, which then goes its own way."""

    def close_cache(self, cache_id: int) -> None:
        """Give a place back."""

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its text; one (num_logits, vocab_size) float32 array for each chunk, in order."""

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """As `step`, but of each row of logits only what it says of a target; `num_logits` targets for each chunk.

        Memory does not grow with the number of rows.
        """
