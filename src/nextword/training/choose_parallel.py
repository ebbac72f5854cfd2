"""`choose_parallel`: the name of a parallelism in, its implementation out."""

from __future__ import annotations

from nextword.training.parallel import Parallel
from nextword.training.processes import Processes
from nextword.training.recipe import ParallelName


def choose_parallel(name: ParallelName, processes: Processes) -> Parallel:
    """Return the parallelism of that name; a single process needs none."""
    if processes.world_size == 1:
        return Parallel()
    if name == "ddp":
        from nextword.training.replicated import Replicated

        return Replicated(processes)
    from nextword.training.sharded import Sharded

    return Sharded(processes)
