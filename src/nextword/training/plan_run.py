"""`plan_run`: memory and time that a training run would take on this machine, from its settings alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch

from nextword.models.block_attention import keeps_weights, num_weights, plan_blocks
from nextword.models.config import ModelConfig
from nextword.models.core_attention import has_kernel
from nextword.models.passes import runs_native
from nextword.models.weights import weight_shapes
from nextword.training.loss import CHUNK_POSITIONS
from nextword.training.machine import flops_per_token, likely_dtype, peak_rate
from nextword.training.plan import LIKELY_MFU, Plan
from nextword.training.recipe import Recipe

_KEPT_VECTORS = {torch.float32: 13.0, torch.bfloat16: 17.5}
"""Activations that a layer keeps for the backward pass, in hidden states, besides three of the MLP's width: counted
with saved_tensors_hooks. In bfloat16 PyTorch's norms and softmax keep float32, which counts twice.
"""
_KEPT_VECTORS_OF_CORE = 4.0
"""The same with the C++ core's fused operations, besides keys and values, which are kept twice, and softmax weights.

Norms, and one activation of the MLP's width, are recomputed.
"""
_WITH_GRADIENTS = 1.5
"""Peak memory of a step over the memory kept for the backward pass: 1.4 on the default model with 2 to 16 rows,
1.57 on SmolLM2 in float32.
"""
_OPTIMIZER_BYTES = 12
"""Bytes of a weight and the two averages of AdamW, in float32."""
_GRADIENT_BYTES = 4


def plan_run(
    config: ModelConfig, recipe: Recipe, *, batch_size: int, row_length: int, num_adapter_weights: int | None = None
) -> Plan:
    """Plan a run of all weights, or of an adapter of `num_adapter_weights` alone; nothing is read or written."""
    dtype, compute = likely_dtype(recipe.compute.precision), recipe.compute
    sizes = {name: math.prod(shape) for name, shape in weight_shapes(config).items()}
    base, adapter = sum(sizes.values()), num_adapter_weights or 0
    trained = sum(sizes.values()) - _frozen(sizes, compute.freeze) if num_adapter_weights is None else adapter
    copies = 0 if dtype == torch.float32 else dtype.itemsize * (base + adapter)
    frozen = (base + adapter - trained) * 4 if dtype == torch.float32 else 0
    averages = 4 * trained if compute.ema else 0
    gradients = _GRADIENT_BYTES * trained
    waiting = gradients if compute.accumulation > 1 else 0
    batch_bytes = _batch_bytes(config, dtype, batch_size, row_length, again=compute.gradient_checkpointing)
    rows = batch_size * compute.accumulation
    operations = flops_per_token(config, num_seen=row_length / 2, trained_share=trained / (base + adapter))
    tokens, rate = recipe.steps * rows * row_length, peak_rate(dtype)
    return Plan(
        num_weights=base + adapter,
        num_trained=trained,
        dtype=dtype,
        is_dtype_likely=compute.precision == "auto",
        state_bytes=trained * _OPTIMIZER_BYTES + copies + frozen + averages + waiting,
        batch_bytes=batch_bytes if waiting else max(batch_bytes, gradients),
        rows_per_step=rows,
        row_length=row_length,
        steps=recipe.steps,
        peak_rate=rate,
        seconds=tokens * operations / (LIKELY_MFU * rate),
    )


def _frozen(sizes: Mapping[str, int], patterns: Sequence[str]) -> int:
    return sum(size for name, size in sizes.items() if any(fnmatchcase(name, pattern) for pattern in patterns))


def _batch_bytes(config: ModelConfig, dtype: torch.dtype, batch_size: int, row_length: int, *, again: bool) -> int:
    num_tokens = batch_size * row_length
    num_wide, kept = (3 if config.is_gated else 2), _KEPT_VECTORS[dtype] * config.hidden_size
    if runs_native(torch.empty(0, dtype=dtype)):
        num_wide -= 1
        kept = _KEPT_VECTORS_OF_CORE * config.hidden_size + 2 * config.num_kv_heads * config.head_dim
        kept += config.num_heads * _softmax_weights(config, dtype, row_length)
    wide, experts = config.intermediate_size, config.experts
    if experts is not None:
        wide = max(wide, experts.active_size)
        kept += 2 * experts.per_token * config.hidden_size  # what goes into a token's experts and comes out
    layer = dtype.itemsize * (num_wide * wide + kept)
    inputs = dtype.itemsize * config.hidden_size
    layers = config.num_layers * inputs + layer if again else config.num_layers * layer
    logits = 2 * dtype.itemsize * config.vocab_size * min(CHUNK_POSITIONS, num_tokens)
    return round(_WITH_GRADIENTS * num_tokens * layers + logits)


def _softmax_weights(config: ModelConfig, dtype: torch.dtype, row_length: int) -> float:
    """Return how many softmax weights a head keeps for each token of rows that are one document each.

    The core's attention keeps one float32 number in their place.
    """
    if has_kernel(config.head_dim, dtype, soft_cap=config.attention_soft_cap):
        return 4 / dtype.itemsize
    blocks = plan_blocks((row_length,), None)
    is_kept = config.attention_soft_cap is None and keeps_weights(blocks, config.head_dim, dtype)
    return num_weights(blocks) / row_length if is_kept else 0.0
