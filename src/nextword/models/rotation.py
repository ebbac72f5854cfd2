"""Rotation of queries and keys by rotary position embedding, with tables of cosine and sine by position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nextword.models.passes import rotate
from nextword.models.rope import Rope

Positions = slice | Tensor
"""Consecutive positions, the same in every row; or (B, T) int64 if rows hold several documents."""

_FIRST_POSITIONS = 1024
"""Positions in a new table; it doubles when a sequence outgrows it."""


@dataclass(frozen=True)
class Rotation:
    """Cosine and signed sine, (T, 1, rotary_dim), or (B, T, 1, rotary_dim) if rows differ in their positions."""

    cosine: Tensor
    signed_sine: Tensor
    """Sine, its first half negated: the rotation of x is x * cosine + (x with halves exchanged) * signed_sine."""

    def rotate(self, heads: Tensor) -> Tensor:
        """Rotate the first rotary_dim dimensions of each head, (B, T, heads, head_dim)."""
        return rotate(heads, self.cosine, self.signed_sine)


class RotationTable:
    """Rotations of one `Rope` for positions from 0 on, in the type and on the device of the hidden states."""

    def __init__(self, rope: Rope, *, is_long: bool, like: Tensor) -> None:
        self._factor = rope.attention_factor
        self._frequencies = torch.from_numpy(rope.inverse_frequencies(is_long=is_long)).float().to(like.device)
        self._dtype = like.dtype
        self._fill(_FIRST_POSITIONS)

    def serves(self, hidden: Tensor) -> bool:
        """Return True if the table has the type and device of the hidden states."""
        return self._dtype == hidden.dtype and self._frequencies.device == hidden.device

    def at(self, positions: Positions, end: int) -> Rotation:
        """Return the rotations of positions, which are all below `end`."""
        if end > self._cosine.shape[0]:
            self._fill(max(end, 2 * self._cosine.shape[0]))
        return Rotation(self._cosine[positions].contiguous(), self._signed_sine[positions].contiguous())

    def _fill(self, count: int) -> None:
        # Outside inference mode, so that a table first used there serves a training step as well.
        with torch.inference_mode(False), torch.no_grad():
            angles = torch.outer(torch.arange(count, device=self._frequencies.device).float(), self._frequencies)
            cosine, sine = angles.cos() * self._factor, angles.sin() * self._factor
            self._cosine = torch.cat((cosine, cosine), dim=-1)[:, None].to(self._dtype)
            self._signed_sine = torch.cat((-sine, sine), dim=-1)[:, None].to(self._dtype)
