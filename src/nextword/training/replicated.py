"""`Replicated`: every process holds the whole model, and DistributedDataParallel averages the gradients."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from nextword.training.objective import Objective
from nextword.training.parallel import Differentiable, Parallel
from nextword.training.processes import Processes
from nextword.training.trained_weights import TrainedWeights


class Replicated(Parallel):
    """Data parallelism with a whole model in every process."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._replica: DistributedDataParallel | None = None

    def wrap(self, objective: Objective, weights: TrainedWeights) -> Differentiable:
        """Wrap the objective in DDP, which sends complete gradients while others are still computed."""
        self._replica = DistributedDataParallel(objective)
        if weights.has_copies:
            # Gradients of the copies are accumulated in float32, and that sum is what DDP has to reduce.
            mean = _MeanOfSums(weights, self._processes.world_size)
            self._replica.register_comm_hook(None, lambda _, bucket: mean(bucket.parameters(), bucket.buffer()))
        return self._replica

    def accumulating(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Return a context in which only the last batch of a step sends gradients."""
        assert self._replica is not None
        return nullcontext() if is_last else self._replica.no_sync()


class _MeanOfSums:
    """Communication hook for DDP: averages the float32 gradients of a bucket of rounded copies over the processes."""

    def __init__(self, weights: TrainedWeights, num_processes: int) -> None:
        self._weights, self._num_processes = weights, num_processes

    def __call__(self, copies: list[Tensor], unused: Tensor) -> torch.futures.Future[Tensor]:
        """Start the all-reduce whose result becomes the gradients. `unused`: the copies' own buffer, which is empty."""
        gradients = [self._weights.gradient_of(copy) for copy in copies]
        total = torch.cat([gradient.flatten() for gradient in gradients])
        sizes = [gradient.numel() for gradient in gradients]

        def spread(_: torch.futures.Future[list[Tensor]]) -> Tensor:
            parts = torch.split(total.div_(self._num_processes), sizes)
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
            return unused

        work = distributed.all_reduce(total, async_op=True)
        arrived: torch.futures.Future[Tensor] = work.get_future().then(spread)
        return arrived
