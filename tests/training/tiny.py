"""A transformer small enough that a training step takes a millisecond, and batches of random tokens for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nextword.data.batch import IGNORED, Batch
from nextword.models.config import ModelConfig
from nextword.models.rope import Rope
from nextword.models.transformer import Transformer
from nextword.training.initial_weights import initial_transformer
from nextword.training.processes import ALONE, Processes

TINY = ModelConfig(
    family="llama",
    vocab_size=13,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=4,
    max_seq_len=32,
    norm_eps=1e-5,
    rope=Rope(theta=100.0, rotary_dim=4),
    attention_scale=0.5,
    is_tied=True,
)


def tiny_transformer() -> Transformer:
    return initial_transformer(TINY, seed=0)


class TextBatches:
    """Batches of a text that counts up, two documents to a row; each batch follows from its number alone.

    A process of several gets its part of the rows. `slant`: each row has so many targets less than the one before it.
    """

    def __init__(
        self,
        *,
        rows: int = 2,
        length: int = 12,
        num_ignored: int = 0,
        slant: int = 0,
        processes: Processes = ALONE,
    ) -> None:
        self.number = 0
        self._rows, self._length, self._num_ignored, self._slant = rows, length, num_ignored, slant
        share = processes.local_batch_size(rows)
        self._own = slice(processes.rank * share, (processes.rank + 1) * share)

    def next_batch(self) -> Batch:
        random = np.random.default_rng(self.number)
        self.number += 1
        text = (random.integers(0, 13, (self._rows, 1)) + np.arange(self._length + 1)) % 13
        token_ids, targets = text[:, :-1], text[:, 1:].copy()
        ids = np.broadcast_to(np.arange(self._length) >= self._length // 2, token_ids.shape).astype(np.int64)
        targets[:, self._length // 2 - 1] = IGNORED
        targets[:, : self._num_ignored] = IGNORED
        for row in range(self._rows):
            targets[row, : row * self._slant] = IGNORED
        positions = np.broadcast_to(np.arange(self._length) % (self._length // 2), token_ids.shape)
        own = (array[self._own].astype(np.int64) for array in (token_ids, targets, positions, ids))
        token_ids, targets, positions, ids = own
        return Batch(token_ids, targets, positions, ids, places=(f"text {self.number}",))

    def state(self) -> dict[str, object]:
        return {"number": self.number}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.number = state["number"]
