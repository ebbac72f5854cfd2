"""`Sharded`: every process holds a part of each weight, its gradient and its optimizer's memory (FSDP2).

A layer's weights are gathered when it computes, rounded to the type of the products, and let go again; the parts that
stay are in float32. So no copies are kept, and gradients are summed over the processes in float32.
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

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._dtype = torch.float32

    def place(self, model: Transformer, dtype: torch.dtype) -> torch.dtype:
        """Every layer is a unit that is gathered at once; what is left of the model is another."""
        self._dtype = dtype
        self._outline = _outline(model)
        mesh = init_device_mesh(self._processes.device.type, (self._processes.count,))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for layer in model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        register_fsdp_forward_method(model, "hidden_states")
        return torch.float32

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One at a time, so that the other processes need memory for one only."""
        gathered = {}
        for name, tensor in tensors.items():
            whole = self.complete(tensor)
            if self._processes.is_rank_zero:
                gathered[name] = whole.cpu()
        return gathered

    def complete(self, tensor: Tensor) -> Tensor:
        """Gathered from all processes."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    @contextmanager
    def eval_model(self, model: Transformer, weights: TrainedWeights) -> Iterator[Transformer]:
        """The first process makes a whole model for the time of the look."""
        tensors = self.whole({**model.state_dict(), **weights.tensors, **weights.averages})
        values = {name: tensor.detach().to(self._processes.device, self._dtype) for name, tensor in tensors.items()}
        self._outline.load_state_dict(values, strict=self._processes.is_rank_zero, assign=True)
        try:
            yield self._outline
        finally:
            self._outline.to("meta")

    def memory_for(self, weights: TrainedWeights, name: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """The own part of a weight, or of what an optimizer keeps for each of its elements."""
        weight = weights.tensors.get(name, weights.tensors.get(name.rpartition(".")[0]))
        return torch.empty_like(weight, dtype=dtype) if weight is not None and weight.shape == size else None


def _outline(model: Transformer) -> Transformer:
    """The same model without the memory of its weights."""
    empty = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, empty)
