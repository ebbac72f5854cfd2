"""Lower the peak memory of a training step by hooks on the layers; results do not change."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nextword.models.transformer import Transformer
from nextword.training.heap import trim_heap

_LAYERS_BETWEEN = 10
"""Layers between two trims of the heap: their gaps are small beside their activations, and a trim takes time."""


def lower_peak_memory(model: Transformer, *, gradient_checkpointing: bool) -> None:
    """Trim the heap between layers in float32, forward and backward; optionally recompute layers in the backward pass.

    To get the pages of the gaps back takes a seventh of a step. In bfloat16 the gaps are half as large, and where most
    weights are frozen, as beside an adapter, a step has neither their gradients nor their averages: no trims there.
    """
    if _trains_most(model):
        for layer in model.layers[_LAYERS_BETWEEN::_LAYERS_BETWEEN]:
            layer.register_forward_hook(_trim_heap)
    if gradient_checkpointing:
        for layer in model.layers:
            layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)


def _trains_most(model: Transformer) -> bool:
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return 2 * trained > sum(parameter.numel() for parameter in parameters)


def _trim_heap(layer: torch.nn.Module, inputs: object, hidden: Tensor) -> None:
    if hidden.requires_grad and hidden.dtype == torch.float32:  # not while sampling
        trim_heap()
        hidden.register_hook(lambda _: trim_heap())  # type: ignore[no-untyped-call]
