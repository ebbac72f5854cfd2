"""Causal attention of packed documents for training on a CPU, in blocks of queries, with gradients.

PyTorch's own attention takes three times as long there, since products of small tiles are far slower than large ones. A
block is a part of one long document, or several short ones with a mask between them. The backward pass recomputes the
scores, so nothing of their size is saved. Letters: N positions, H heads, K key-value heads, G = H / K, T queries of a
block, S keys that they attend to.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nextword.models.passes import Seen, softmax, softmax_backward

_BLOCK_QUERIES = 128
"""Queries of a block: enough for products at full speed, few enough to compute little for masked keys."""


@dataclass(frozen=True)
class Block:
    """Block of queries that are computed together, and the keys they attend to."""

    queries: slice
    keys: slice
    """Keys from the first that any of the queries attends to, up to the last query's own."""
    seen: Seen
    is_whole: bool
    """True if no query of another block attends to these keys."""


@functools.lru_cache(maxsize=4)  # cached: every layer of a step uses the same
def plan_blocks(document_lengths: tuple[int, ...], window: int | None) -> tuple[Block, ...]:
    """Divide the queries of successive documents into blocks; `window` as in `causal_attention`."""
    starts = np.repeat(np.cumsum([0, *document_lengths[:-1]]), document_lengths)  # (N,), of each position's document
    return tuple(_block(span, starts, window) for span in _spans(document_lengths))


def block_attention(
    queries: Tensor, keys: Tensor, values: Tensor, blocks: Sequence[Block], *, scale: float, soft_cap: float | None
) -> Tensor:
    """Attend causally by blocks: queries (N, H, head_dim), keys and values (N, K, head_dim) -> (N, H, head_dim)."""
    mixed: Tensor = _BlockAttention.apply(queries, keys, values, blocks, scale, soft_cap)  # type: ignore[no-untyped-call]
    return mixed


def _spans(document_lengths: Sequence[int]) -> Iterator[slice]:
    """Yield the queries of each block: equal parts of a long document, or as many short documents as fit."""
    first = end = 0
    for length in document_lengths:
        if end > first and end - first + length > _BLOCK_QUERIES:
            yield slice(first, end)
            first = end
        if length > _BLOCK_QUERIES:
            num_parts = -(-length // _BLOCK_QUERIES)
            bounds = [first + length * part // num_parts for part in range(num_parts + 1)]
            yield from (slice(*part) for part in itertools.pairwise(bounds))
            first = end = first + length
        else:
            end += length
    if end > first:
        yield slice(first, end)


def _block(queries: slice, starts: np.ndarray[Any, Any], window: int | None) -> Block:
    position = np.arange(queries.start, queries.stop)
    first = starts[queries] if window is None else np.maximum(starts[queries], position - window + 1)
    keys = slice(int(first[0]), queries.stop)
    seen = Seen(*(torch.from_numpy((bound - keys.start).astype(np.int32)) for bound in (first, position + 1)))
    is_end = queries.stop == len(starts) or int(starts[queries.stop]) == queries.stop
    return Block(queries, keys, seen, is_whole=keys.start == queries.start and is_end)


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        blocks: Sequence[Block],
        scale: float,
        soft_cap: float | None,
    ) -> Tensor:
        context.save_for_backward(queries, keys, values)
        context.settings = blocks, scale, soft_cap
        mixed = torch.empty_like(queries, memory_format=torch.contiguous_format)
        for block in blocks:
            scores, factor = _scores(_grouped(queries[block.queries], keys), keys[block.keys], scale, soft_cap)
            weights = softmax(scores, block.seen, scale=factor)  # (K, G * T, S)
            _put(mixed[block.queries], torch.bmm(weights, values[block.keys].transpose(0, 1)))
        return mixed

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values = context.saved_tensors
        blocks, scale, soft_cap = context.settings
        # Gradients to which several blocks add are accumulated in float32.
        sum_dtype = keys.dtype if all(block.is_whole for block in blocks) else torch.float32
        query_grads = torch.empty_like(queries, memory_format=torch.contiguous_format)
        key_grads, value_grads = (torch.zeros(tensor.shape, dtype=sum_dtype) for tensor in (keys, values))
        for block in blocks:
            own_queries, own_keys = _grouped(queries[block.queries], keys), keys[block.keys].transpose(0, 1)
            own_values, grad = values[block.keys].transpose(0, 1), _grouped(grads[0][block.queries], keys)
            scores, factor = _scores(own_queries, keys[block.keys], scale, soft_cap)
            cap_derivative = None if soft_cap is None else (1 - (scores / soft_cap).square()) * scale
            weights = softmax(scores, block.seen, scale=factor)
            value_grads[block.keys].transpose(0, 1).add_(torch.bmm(weights.transpose(1, 2), grad))
            weight_grads = torch.bmm(grad, own_values.transpose(1, 2))
            score_grads = softmax_backward(weights, weight_grads, block.seen, scale=factor)
            if cap_derivative is not None:
                score_grads *= cap_derivative
            _put(query_grads[block.queries], torch.bmm(score_grads, own_keys))
            key_grads[block.keys].transpose(0, 1).add_(torch.bmm(score_grads.transpose(1, 2), own_queries))
        return query_grads, key_grads.to(keys.dtype), value_grads.to(values.dtype), None, None, None


def _grouped(heads: Tensor, keys: Tensor) -> Tensor:
    """Lay out the query heads that share a key-value head as more queries: (T, H, head_dim) -> (K, G * T, head_dim)."""
    num_queries, _, head_dim = heads.shape
    num_kv_heads = keys.shape[1]
    return heads.view(num_queries, num_kv_heads, -1, head_dim).permute(1, 2, 0, 3).reshape(num_kv_heads, -1, head_dim)


def _put(out: Tensor, grouped: Tensor) -> None:
    """Write a result in the layout of `_grouped`, (K, G * T, head_dim), to `out`, (T, H, head_dim)."""
    num_queries, num_heads, head_dim = out.shape
    apart = grouped.view(num_heads, num_queries, head_dim).transpose(0, 1)
    out.copy_(apart)


def _scores(queries: Tensor, keys: Tensor, scale: float, soft_cap: float | None) -> tuple[Tensor, float]:
    """Compute scores (K, G * T, S) from (K, G * T, head_dim) and (S, K, head_dim), and the scale yet to apply."""
    scores = torch.bmm(queries, keys.permute(1, 2, 0))
    return (scores, scale) if soft_cap is None else (torch.tanh(scores * (scale / soft_cap)) * soft_cap, 1.0)
