"""`Plan`: memory and time that a training run would take on this machine; `plan_run` makes it. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nextword.training.duration import format_duration

if TYPE_CHECKING:
    import torch

LIKELY_MFU = 0.5
"""Typical MFU of a small model."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimated memory and time of a training run."""

    num_weights: int
    """Parameters of the model, an adapter's included."""
    num_trained: int
    """Parameters that are trained."""
    dtype: torch.dtype
    """Type of the numbers in matrix products."""
    is_dtype_likely: bool
    """True if batches of the run will be timed to choose that type, and large products alone speak for this one."""
    state_bytes: int
    """Bytes of weights and optimizer state; with accumulation also of gradients."""
    batch_bytes: int
    """Activations kept for the backward pass, with the logits of a chunk; or gradients, if those are more."""
    rows_per_step: int
    """Rows of all batches of a step."""
    row_length: int
    """Tokens of a row."""
    steps: int
    """Number of steps."""
    peak_rate: float
    """Floating-point operations a second of a large matrix product."""
    seconds: float
    """Estimated time, at the likely MFU."""

    @property
    def num_tokens(self) -> int:
        """Number of tokens in all steps."""
        return self.steps * self.rows_per_step * self.row_length

    def __str__(self) -> str:
        trained = "" if self.num_trained == self.num_weights else f", of which {self.num_trained:,} are trained"
        likely = ", most likely: precision auto times batches when the run begins" if self.is_dtype_likely else ""
        return (
            f"parameters      {self.num_weights:,}{trained}\n"
            f"memory          about {_megabytes(self.state_bytes + self.batch_bytes)} besides PyTorch's own: "
            f"{_megabytes(self.state_bytes)} for weights and optimizer, {_megabytes(self.batch_bytes)} for a batch\n"
            f"steps           {self.steps:,} of {self.rows_per_step} x {self.row_length} tokens, "
            f"{self.num_tokens:,} in all\n"
            f"products in     {str(self.dtype).removeprefix('torch.')}{likely}\n"
            f"estimated time  {format_duration(self.seconds)}, at {LIKELY_MFU:.0%} of the "
            f"{self.peak_rate / 1e9:.0f} GFLOP/s measured here"
        )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
