"""`Parallel`: data parallelism, applied to a model from outside.

Neither the model nor the training loop depends on it. This class is for a single process, and the base of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from nextword.data.batch import Batch
from nextword.models.transformer import Transformer
from nextword.training.objective import Objective
from nextword.training.trained_weights import TrainedWeights

Differentiable = Callable[[Batch], tuple[Tensor, Tensor]]
"""Function from a batch to the sum of its nats, without and with the z-loss."""


class Parallel:
    """Training in a single process; base class of data parallelism."""

    is_sharded = False
    """True if no process holds the whole model."""

    def shard(self, model: Transformer, dtype: torch.dtype) -> torch.dtype:
        """Shard the model before `TrainedWeights` takes its weights; return the dtype to store those in.

        `dtype`: of matrix products.
        """
        return dtype

    def wrap(self, objective: Objective, weights: TrainedWeights) -> Differentiable:
        """Wrap the objective so that its gradients reach the weights of all processes.

        Gradients become the mean over the processes.
        """
        return objective

    def accumulating(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Return a context for one batch of gradient accumulation; only the last one synchronises gradients."""
        return nullcontext()

    def full_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather whole tensors, in the first process at least. All processes call it."""
        return dict(tensors)

    def full_tensor(self, tensor: Tensor) -> Tensor:
        """Gather one whole tensor in every process."""
        return tensor

    @contextmanager
    def eval_model(self, model: Transformer, weights: TrainedWeights) -> Iterator[Transformer]:
        """Yield a whole model in the first process, with EMA weights if kept. All processes call it."""
        with weights.averaged():
            yield model

    def memory_for(self, weights: TrainedWeights, name: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Return the tensor to load a checkpoint's tensor of that name into; None: a new, whole tensor."""
        return None
