"""`choose_precision`: time batches of the run itself in each precision, and take the faster one; the run is unchanged.

Which precision is faster depends on the processor and on the model: large products alone do not say it. A batch goes
forward and backward as in a step of the run; the optimizer is left out, since it computes in float32 either way. Where
one precision leads clearly on a quarter of the rows, that decides: a whole batch in float32 would need more memory than
the run in bfloat16. Where products in bfloat16 are slower by far, no batch is timed: one could take many minutes.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from nextword.data.batch import IGNORED, Batch, BatchSource
from nextword.models.transformer import Transformer
from nextword.training.heap import retained_heap
from nextword.training.machine import DTYPES, layer_seconds
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
_PART, _PART_ROUNDS, _LONG_PART = 4, 2, 0.5
"""A part is one row in so many, is timed so often, and decides if a round of it takes so many seconds."""
FAR_SLOWER = 4.0
"""Ratio of the times of products that nothing else in a step makes up for."""


def choose_precision(
    model: Transformer, source: BatchSource, compute: ComputeRecipe, processes: Processes, note: Callable[[str], None]
) -> torch.dtype:
    """Return the dtype in which the next batch takes less time forward and backward, and note why.

    `model`: as it is trained, its frozen weights marked. Weights, gradients, random state and the position in the data
    are afterwards as before. Several processes time their parts of the batch at once, and choose the same.
    """
    if processes.device.type == "cpu" and (ratio := bfloat16_ratio(processes)) > FAR_SLOWER:
        note(f"precision auto is float32: products in bfloat16 take {ratio:.0f} times as long here")
        return torch.float32
    state, was_training = source.state(), model.training
    batch, objective = source.next_batch(), Objective(model, z_loss=compute.z_loss, device=processes.device)
    try:
        with torch.random.fork_rng(), retained_heap():
            timed, seconds = _time(objective, batch, processes)
    finally:
        model.train(was_training)
        source.resume(state)
    chosen, other = sorted(seconds, key=lambda name: seconds[name])
    note(
        f"precision auto is {chosen}: {timed} takes {seconds[chosen]:.3g} s forward and backward, "
        f"{seconds[other]:.3g} s in {other}"
    )
    return DTYPES[chosen]


def bfloat16_ratio(processes: Processes) -> float:
    """Return how many times as long as in float32 a layer's products take in bfloat16, over all processes."""
    float32, bfloat16 = processes.all_reduce(*(layer_seconds(dtype) for dtype in DTYPES.values()))
    return bfloat16 / float32


def _time(objective: Objective, batch: Batch, processes: Processes) -> tuple[str, dict[str, float]]:
    """Return what was timed, and the mean seconds over the processes that it takes in each precision."""
    objective.model.train()
    num_rows = len(batch.token_ids) // _PART
    if num_rows:
        part = _first_rows(batch, num_rows)
        seconds = _best(objective, part, processes, num_rounds=_PART_ROUNDS, long_round=math.inf)
        if sum(seconds.values()) > _LONG_PART and _leads_clearly(seconds.values()):
            return f"a part of a batch, {num_rows} of {len(batch.token_ids)} rows,", seconds
    return "a batch", _best(objective, batch, processes, num_rounds=_ROUNDS, long_round=_LONG_ROUND)


def _best(
    objective: Objective, batch: Batch, processes: Processes, *, num_rounds: int, long_round: float
) -> dict[str, float]:
    """Return the best seconds in each precision of a few rounds; a long one with a clear winner is the last."""
    best = dict.fromkeys(DTYPES, math.inf)
    for _ in range(num_rounds):
        totals = processes.all_reduce(*(_seconds(objective, batch, dtype) for dtype in DTYPES.values()))
        times = [total / processes.world_size for total in totals]
        best = {name: min(best[name], time) for name, time in zip(best, times, strict=True)}
        if sum(times) > long_round and _leads_clearly(times):
            break
    return best


def _leads_clearly(times: Iterable[float]) -> bool:
    fast, slow = sorted(times)
    return slow > _CLEAR_LEAD * fast


def _first_rows(batch: Batch, number: int) -> Batch:
    arrays = {name: getattr(batch, name)[:number] for name in ("token_ids", "targets", "positions", "document_ids")}
    return dataclasses.replace(batch, **arrays)


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
