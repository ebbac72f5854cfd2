"""`Sharded`: every process holds a shard of each weight, its gradient and its optimizer state (FSDP2).

A layer's weights are gathered when it computes, rounded to the type of the products, and freed again; the shards stay
in float32. So no copies are kept, and gradients are summed over the processes in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from nextword.models.transformer import Transformer
from nextword.training.parallel import Parallel
from nextword.training.processes import Processes
from nextword.training.trained_weights import TrainedWeights


class Sharded(Parallel):
    """Data parallelism in which no process holds the whole model."""

    is_sharded = True

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._dtype = torch.float32

    def shard(self, model: Transformer, dtype: torch.dtype) -> torch.dtype:
        """Shard every layer as one unit, and the rest of the model as another."""
        self._dtype = dtype
        self._outline = _outline(model)
        mesh = init_device_mesh(self._processes.device.type, (self._processes.world_size,))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for layer in model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        register_fsdp_forward_method(model, "hidden_states")
        return torch.float32

    def full_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather one tensor at a time, so that the other processes need memory for one only."""
        gathered = {}
        for name, tensor in tensors.items():
            whole = self.full_tensor(tensor)
            if self._processes.is_rank_zero:
                gathered[name] = whole.cpu()
        return gathered

    def full_tensor(self, tensor: Tensor) -> Tensor:
        """Gather a tensor from all processes."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    @contextmanager
    def eval_model(self, model: Transformer, weights: TrainedWeights) -> Iterator[Transformer]:
        """Yield a whole model, which the first process makes for the time of the block."""
        tensors = self.full_tensors({**model.state_dict(), **weights.tensors, **weights.averages})
        values = {name: tensor.detach().to(self._processes.device, self._dtype) for name, tensor in tensors.items()}
        self._outline.load_state_dict(values, strict=self._processes.is_rank_zero, assign=True)
        try:
            yield self._outline
        finally:
            self._outline.to("meta")

    def memory_for(self, weights: TrainedWeights, name: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Make memory for this process's shard of a weight, or of its optimizer state."""
        weight = weights.tensors.get(name, weights.tensors.get(name.rpartition(".")[0]))
        return torch.empty_like(weight, dtype=dtype) if weight is not None and weight.shape == size else None


def _outline(model: Transformer) -> Transformer:
    """Copy the model without the memory of its weights."""
    empty = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, empty)
