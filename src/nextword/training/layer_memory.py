"""Hooks on the layers of a model in training that lower a step's peak memory; what is computed stays the same."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nextword.models.transformer import Transformer
from nextword.training.heap import trim_heap

_LAYERS_BETWEEN = 6
"""Layers between two returns of memory: their gaps are small beside their activations, and each takes time."""


def lower_peak_memory(model: Transformer, *, gradient_checkpointing: bool) -> None:
    """Give back gaps between layers, forward and backward; with checkpointing compute layers twice to keep less."""
    for layer in model.layers[_LAYERS_BETWEEN::_LAYERS_BETWEEN]:
        layer.register_forward_hook(_trim_heap)
    if gradient_checkpointing:
        for layer in model.layers:
            layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)


def _trim_heap(layer: torch.nn.Module, inputs: object, hidden: Tensor) -> None:
    if hidden.requires_grad:  # not for each token of a sample
        trim_heap()
        hidden.register_hook(lambda _: trim_heap())  # type: ignore[no-untyped-call]
