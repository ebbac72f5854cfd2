"""Causal attention of packed documents in the C++ core, with gradients: no score ever leaves the first cache.

`block_attention` computes the same with PyTorch's products, where the core does not. Letters: N positions, H heads, K
key-value heads.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nextword.models.passes import as_array, runs_native
from nextword.native import native

VECTOR = 16
"""Numbers of a vector of the core, which divide head_dim."""


def runs_in_core(queries: Tensor, keys: Tensor, document_lengths: Sequence[int], *, soft_cap: float | None) -> bool:
    """Return True if the core attends: it has a kernel, and a unit of its work is a document's key-value head."""
    num_units = len(document_lengths) * keys.shape[-2]
    fits = has_kernel(queries.shape[-1], queries.dtype, soft_cap=soft_cap) and num_units >= torch.get_num_threads()
    return runs_native(queries) and fits and queries.dtype == keys.dtype


def has_kernel(head_dim: int, dtype: torch.dtype, *, soft_cap: float | None) -> bool:
    """Return True if the core attends in heads of this size, without a soft cap, and likely faster than PyTorch.

    PyTorch multiplies bfloat16 by the matrix tiles of AMX where there are any, several times as fast as vectors do.
    """
    return head_dim % VECTOR == 0 and soft_cap is None and not (dtype == torch.bfloat16 and _has_tiles())


@functools.cache
def _has_tiles() -> bool:
    return native is not None and native.choose_isa("") == "amx"


def core_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    document_lengths: tuple[int, ...],
    *,
    scale: float,
    window: int | None,
) -> Tensor:
    """Attend causally within documents: queries (N, H, head_dim), keys and values (N, K, head_dim) -> as queries.

    `window` as in `causal_attention`. Only where `runs_in_core`.
    """
    starts = _starts(document_lengths)
    mixed: Tensor = _CoreAttention.apply(queries, keys, values, starts, scale, window or len(queries))  # type: ignore[no-untyped-call]
    return mixed


@functools.lru_cache(maxsize=4)  # cached: every layer of a step uses the same
def _starts(document_lengths: tuple[int, ...]) -> Tensor:
    """Return the first position of each document, and then the number of positions."""
    return torch.tensor([0, *document_lengths]).cumsum(0)


class _CoreAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, queries: Tensor, keys: Tensor, values: Tensor, starts: Tensor, scale: float, window: int
    ) -> Tensor:
        assert native is not None
        queries, keys, values = queries.contiguous(), keys.contiguous(), values.contiguous()
        mixed = torch.empty_like(queries)
        log_sums = torch.empty(queries.shape[1], len(queries), dtype=torch.float32)
        heads = [as_array(tensor) for tensor in (queries, keys, values, starts)]
        native.attend(*heads, window, scale, as_array(mixed), as_array(log_sums))
        context.save_for_backward(queries, keys, values, mixed, log_sums)
        context.settings = starts, window, scale
        return mixed

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        assert native is not None
        queries, keys, values, mixed, log_sums = context.saved_tensors
        starts, window, scale = context.settings
        own_grads = [torch.empty_like(tensor) for tensor in (queries, keys, values)]
        heads = [as_array(tensor) for tensor in (queries, keys, values, starts)]
        after = [as_array(tensor) for tensor in (mixed, log_sums, grads[0].contiguous(), *own_grads)]
        native.attend_backward(*heads, window, scale, *after)
        return (*own_grads, None, None, None)
