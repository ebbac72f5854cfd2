"""`Processes`: the process group that torchrun or Ray started to train one model, and its collectives.

They carry small CPU values (counts, losses, decisions); `parallel` communicates gradients and weights.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed

from nextword.errors import ConfigError, TrainingError

T = TypeVar("T")

_LONGEST_WAIT = datetime.timedelta(days=1)
"""Timeout of a wait, such as for the first process to tokenize a corpus. A process that ends is noticed at once."""
_SIGNS_OF_AN_END = ("gloo", "Connection", "NCCL")
"""Words in torch's error messages that show that another process has ended."""


class Processes:
    """Rank, world size and collectives; all processes make the same calls in the same order."""

    def __init__(
        self,
        *,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        group: distributed.ProcessGroup | None = None,
        has_joined: bool = False,
    ) -> None:
        """Describe this process. `group` sends CPU tensors; None: one process alone. `has_joined`: `leave` ends it."""
        self.rank, self.world_size, self.device, self.group = rank, world_size, torch.device(device), group
        self._has_joined = has_joined

    @property
    def is_rank_zero(self) -> bool:
        """True if this process is the one that writes files and messages."""
        return self.rank == 0

    def leave(self) -> None:
        """Destroy the process group if `join_processes` created it; one of a launcher such as Ray stays."""
        if self._has_joined and _is_joined():
            distributed.destroy_process_group()

    def local_batch_size(self, batch_size: int) -> int:
        """Return this process's number of rows of a batch. Raises ConfigError if rows cannot be shared equally."""
        if batch_size % self.world_size:
            raise ConfigError(
                f"batch_size = {batch_size} cannot be shared by {self.world_size} processes: take a multiple"
            )
        return batch_size // self.world_size

    def all_reduce(self, *numbers: float) -> list[float]:
        """Sum each number over all processes, in float64."""
        if self.group is None:
            return list(numbers)
        totals = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(totals, group=self.group)
        return totals.tolist()

    def any(self, holds: bool) -> bool:
        """Return True if `holds` is true in any process."""
        return self.all_reduce(holds)[0] > 0

    def all_gather(self, values: Sequence[T]) -> list[T]:
        """Gather the values of all processes, in the order of ranks."""
        if self.group is None:
            return list(values)
        parts: list[Sequence[T]] = [()] * self.world_size
        distributed.all_gather_object(parts, values, group=self.group)
        return [value for part in parts for value in part]

    def on_rank_zero(self, act: Callable[[], T]) -> T:
        """Run `act` in the first process while the others wait; return its result, or raise its error, in all."""
        if self.group is None:
            return act()
        outcome: list[object] = [None, None]
        if self.is_rank_zero:
            try:
                outcome[0] = act()
            except Exception as error:
                outcome[1] = error
        distributed.broadcast_object_list(outcome, src=0, group=self.group)
        if isinstance(outcome[1], Exception):
            raise outcome[1]
        return outcome[0]  # type: ignore[return-value]


ALONE = Processes()


def join_processes() -> Processes:
    """Join the processes that a launcher has started with this one in torch.distributed; ALONE if none has.

    Rank, world size and rendezvous come from the environment, as torchrun, Slurm scripts and Ray set it. Raises
    ConfigError if the rendezvous fails.
    """
    if not _is_joined() and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    was_joined = _is_joined()
    if not was_joined:
        try:
            distributed.init_process_group("gloo" if device.type == "cpu" else "nccl")
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"WORLD_SIZE says {os.environ['WORLD_SIZE']} processes, which cannot meet ({reason}): use torchrun"
            ) from None
    group = distributed.new_group(backend="gloo", timeout=_LONGEST_WAIT)
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    return Processes(rank=rank, world_size=world_size, device=device, group=group, has_joined=not was_joined)


@contextmanager
def lost_processes_named() -> Iterator[None]:
    """Raise TrainingError where torch reports that another process has ended before the rest."""
    try:
        yield
    except RuntimeError as error:
        if any(sign in str(error) for sign in _SIGNS_OF_AN_END):
            raise TrainingError("another process of this run has ended; see its error message") from None
        raise


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
