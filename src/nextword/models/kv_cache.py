"""The keys and values of the positions computed so far: made by its owner, given to the model, grown by doubling."""

from __future__ import annotations

import torch
from torch import Tensor

from nextword.errors import RequestError
from nextword.models.config import ModelConfig

_FIRST_CAPACITY = 64
"""Positions allocated at first; most prompts need one or two doublings."""


class KVCache:
    """Keys and values of `batch_size` rows for every layer, up to `max_seq_len` positions.

    `is_long`: which angles of LongRoPE the keys have; None: those for the length that a forward pass reaches.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        batch_size: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        is_long: bool | None = None,
    ) -> None:
        self.length = 0
        """Positions filled, the same for all rows and, between two forward passes, for all layers."""
        self.is_long = is_long
        self._max_seq_len = config.max_seq_len
        empty = torch.empty(batch_size, config.num_kv_heads, 0, config.head_dim, dtype=dtype, device=device)
        self._keys = [empty] * config.num_layers
        self._values = [empty] * config.num_layers

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write one layer's keys and values, (B, K, T, head_dim), after the filled positions; return all so far.

        The result is a view, (B, K, length + T, head_dim). `length` itself moves by `advance`, once per forward pass.
        Raises RequestError beyond max_seq_len.
        """
        end = self.length + keys.shape[2]
        if end > self._keys[layer].shape[2]:
            self._grow(layer, end)
        all_keys, all_values = self._keys[layer][:, :, :end], self._values[layer][:, :, :end]
        all_keys[:, :, self.length :] = keys
        all_values[:, :, self.length :] = values
        return all_keys, all_values

    def advance(self, num_positions: int) -> None:
        """Count the positions that every layer has now appended."""
        self.length += num_positions

    def truncate(self, length: int) -> None:
        """Forget the positions from `length` on."""
        assert 0 <= length <= self.length, f"cannot truncate {self.length} positions to {length}"
        self.length = length

    def fork(self) -> KVCache:
        """An independent copy."""
        copy = object.__new__(KVCache)
        copy.length, copy.is_long, copy._max_seq_len = self.length, self.is_long, self._max_seq_len
        copy._keys = [keys[:, :, : self.length].clone() for keys in self._keys]
        copy._values = [values[:, :, : self.length].clone() for values in self._values]
        return copy

    def _grow(self, layer: int, needed: int) -> None:
        if needed > self._max_seq_len:
            raise RequestError(f"{needed} positions asked for, the model has {self._max_seq_len}: shorten the text")
        capacity = max(_FIRST_CAPACITY, 2 * self._keys[layer].shape[2], needed)
        capacity = min(capacity, self._max_seq_len)
        self._keys[layer] = self._enlarged(self._keys[layer], capacity)
        self._values[layer] = self._enlarged(self._values[layer], capacity)

    def _enlarged(self, buffer: Tensor, capacity: int) -> Tensor:
        batch_size, heads, _, head_dim = buffer.shape
        larger = buffer.new_empty(batch_size, heads, capacity, head_dim)
        larger[:, :, : self.length] = buffer[:, :, : self.length]
        return larger
