"""`choose_precision`: time batches of the run itself in each precision, and take the faster one; the run is unchanged.

Which precision is faster depends on the processor and on the model: large products alone do not say it. A batch goes
forward and backward as in a step of the run; the optimizer is left out, since it computes in float32 either way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from nextword.data.batch import IGNORED, Batch, BatchSource
from nextword.models.transformer import Transformer
from nextword.training.heap import retained_heap
from nextword.training.machine import DTYPES
from nextword.training.objective import Objective
from nextword.training.processes import Processes
from nextword.training.recipe import ComputeRecipe
from nextword.training.trained_weights import AddGradient

_ROUNDS = 4
"""Batches in each precision, of which the fastest counts: the first ones set things up."""
_LONG_ROUND = 2.0
"""Seconds of a round beside which what is set up in its batches is small."""
_CLEAR_LEAD = 1.4
"""Ratio of times that another round does not overturn, where a round is long."""


def choose_precision(
    model: Transformer, source: BatchSource, compute: ComputeRecipe, processes: Processes, note: Callable[[str], None]
) -> torch.dtype:
    """Return the dtype in which the next batch takes less time forward and backward, and note both times.

    `model`: as it is trained, its frozen weights marked. Weights, gradients, random state and the position in the data
    are afterwards as before. Several processes time their parts of the batch at once, and choose the same.
    """
    state, was_training = source.state(), model.training
    batch, objective = source.next_batch(), Objective(model, z_loss=compute.z_loss, device=processes.device)
    try:
        with torch.random.fork_rng(), retained_heap():
            seconds = _time(objective, batch, processes)
    finally:
        model.train(was_training)
        source.resume(state)
    chosen, other = sorted(seconds, key=lambda name: seconds[name])
    note(
        f"precision auto is {chosen}: a batch takes {seconds[chosen]:.3g} s forward and backward, "
        f"{seconds[other]:.3g} s in {other}"
    )
    return DTYPES[chosen]


def _time(objective: Objective, batch: Batch, processes: Processes) -> dict[str, float]:
    """Return the mean seconds over the processes of a batch in each precision, the best of a few rounds."""
    objective.model.train()
    best = dict.fromkeys(DTYPES, math.inf)
    for _ in range(_ROUNDS):
        totals = processes.all_reduce(*(_seconds(objective, batch, dtype) for dtype in DTYPES.values()))
        times = [total / processes.world_size for total in totals]
        best = {name: min(best[name], time) for name, time in zip(best, times, strict=True)}
        if sum(times) > _LONG_ROUND and max(times) > _CLEAR_LEAD * min(times):
            break
    return best


def _seconds(objective: Objective, batch: Batch, dtype: torch.dtype) -> float:
    """Time one batch forward and backward, and drop the gradients."""
    start = time.perf_counter()
    with _computing_in(dtype, objective.model):
        _, loss = objective(batch)
        (loss / max(1, (batch.targets != IGNORED).sum())).backward()
        if objective.device.type == "cuda":
            torch.cuda.synchronize(objective.device)
    return time.perf_counter() - start


@contextmanager
def _computing_in(dtype: torch.dtype, model: Transformer) -> Iterator[None]:
    """Let the model compute as `TrainedWeights` of that dtype lets it; put its float32 weights back in the end."""
    own = {parameter: parameter.data for parameter in model.parameters()}
    hooks = []
    if dtype != torch.float32:
        model.to(dtype)
        trained = [parameter for parameter in own if parameter.requires_grad]
        hooks = [copy.register_post_accumulate_grad_hook(AddGradient(own[copy])) for copy in trained]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, values in own.items():
            parameter.data, parameter.grad = values, None
