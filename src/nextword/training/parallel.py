"""`Parallel`: how the processes of a run share the training of one model, put on it from outside.

The model and the loop know nothing of it. Here is what one process alone does, the base of the others.
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
"""A batch in; the sum of its nats, and what to differentiate."""


class Parallel:
    """One process alone; the base of the other ways."""

    def place(self, model: Transformer, dtype: torch.dtype) -> torch.dtype:
        """Spread the model before its weights are looked at; returns the type that `TrainedWeights` is to hold it in.

        `dtype`: of the products.
        """
        return dtype

    def connect(self, objective: Objective, weights: TrainedWeights) -> Differentiable:
        """The objective as the loop is to call it: what it differentiates reaches the weights of all processes.

        Gradients become the mean over the processes.
        """
        return objective

    def collecting(self, *, is_last: bool) -> AbstractContextManager[None]:
        """A context for one of the batches whose gradients are summed for a step."""
        return nullcontext()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors complete, in the first process at least. All processes call it."""
        return dict(tensors)

    def complete(self, tensor: Tensor) -> Tensor:
        """One tensor complete, in every process."""
        return tensor

    @contextmanager
    def eval_model(self, model: Transformer, weights: TrainedWeights) -> Iterator[Transformer]:
        """A complete model in the first process, with averages where they are kept. All processes call it."""
        with weights.averaged():
            yield model

    def memory_for(self, weights: TrainedWeights, name: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Where to read a tensor of a checkpoint to, by its name there; None: it is wanted whole."""
        return None
