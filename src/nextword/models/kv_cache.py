"""`KVCache`: keys and values of the positions already computed, passed to the model; its capacity grows by doubling."""

from __future__ import annotations

import torch
from torch import Tensor

from nextword.errors import RequestError
from nextword.models.config import ModelConfig

_FIRST_CAPACITY = 64
"""Initial capacity in positions; most prompts need one or two doublings."""


class KVCache:
    """Keys and values of `batch_size` sequences for every layer, up to `max_seq_len` positions.

    `is_long`: True for keys rotated by LongRoPE's long factors, False for its short ones; None: chosen in each forward
    pass by the length that it reaches.
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
        """Filled positions, the same for all sequences and, between two forward passes, for all layers."""
        self.is_long = is_long
        self._max_seq_len = config.max_seq_len
        empty = torch.empty(batch_size, config.num_kv_heads, 0, config.head_dim, dtype=dtype, device=device)
        self._keys = [empty] * config.num_layers
        self._values = [empty] * config.num_layers

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append one layer's keys and values, (B, K, T, head_dim); return all of the layer.

        The results are views, (B, K, length + T, head_dim). `advance` then adds T to `length`, once per forward pass.
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
        """Add positions, appended in every layer, to `length`."""
        self.length += num_positions

    def truncate(self, length: int) -> None:
        """Drop the positions from `length` on."""
        assert 0 <= length <= self.length, f"cannot truncate {self.length} positions to {length}"
        self.length = length

    def fork(self) -> KVCache:
        """Return an independent copy."""
        copy = object.__new__(KVCache)
        copy.length, copy.is_long, copy._max_seq_len = self.length, self.is_long, self._max_seq_len
        copy._keys = [keys[:, :, : self.length].clone() for keys in self._keys]
        copy._values = [values[:, :, : self.length].clone() for values in self._values]
        return copy

    def _grow(self, layer: int, needed: int) -> None:
        if needed > self._max_seq_len:
            raise RequestError(
                f"{needed} positions needed, the context of the model is {self._max_seq_len}: shorten the text"
            )
        capacity = max(_FIRST_CAPACITY, 2 * self._keys[layer].shape[2], needed)
        capacity = min(capacity, self._max_seq_len)
        self._keys[layer] = self._enlarged(self._keys[layer], capacity)
        self._values[layer] = self._enlarged(self._values[layer], capacity)

    def _enlarged(self, buffer: Tensor, capacity: int) -> Tensor:
        batch_size, heads, _, head_dim = buffer.shape
        larger = buffer.new_empty(batch_size, heads, capacity, head_dim)
        larger[:, :, : self.length] = buffer[:, :, : self.length]
        return larger
