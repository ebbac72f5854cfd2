"""`Callbacks`: the hooks of a training run, given from above; `StepReport`: what one step did. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nextword.models.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Figures of one step, as metrics.jsonl has them."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean negative log-likelihood of the targets before the step, in nats."""
    lr: float
    """Learning rate."""
    grad_norm: float
    """Norm of all gradients together, before clipping."""
    num_targets: int
    """Tokens with a loss."""
    seconds: float
    """Time of the step."""
    tokens_per_second: float
    """Speed of the step, in tokens with a loss."""
    mfu: float
    """Model FLOPs utilization: useful FLOP/s as a share of those of a large matrix product on this machine."""
    seconds_left: float
    """Estimated time to the last step, without validations and samples."""
    skipped: str | None = None
    """Reason why the update was skipped; None if the weights were updated."""


def _ignore(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """Hooks called during training. Each receives the model in eval mode."""

    on_step: Callable[[StepReport], None] = _ignore
    validate: Callable[[Transformer], float] | None = None
    """Compute the validation loss, in nats per token."""
    sample: Callable[[Transformer], str] | None = None
    """Generate a text."""
    export: Callable[[dict[str, Tensor], Path], None] = _ignore
    """Write the weights, by name and in float32, as a model directory."""
    note: Callable[[str], None] = _ignore
    """Receive a line for people."""
    record: Callable[[Mapping[str, object]], None] = _ignore
    """Receive a line of metrics.jsonl."""

    def awaited(self) -> Callbacks:
        """Return the callbacks of the other ranks: the hooks that all ranks run or wait for, without the rest."""
        return Callbacks(validate=self.validate, sample=self.sample)
