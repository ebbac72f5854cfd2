"""Causal attention of packed documents for training on a CPU, in blocks of queries, with gradients.

PyTorch's own attention takes three times as long there, since products of small tiles are far slower than large ones. A
block is a part of one long document, or several short ones with a mask between them; blocks of one shape at equal
distances, as documents of one length have them, are computed together. The backward pass recomputes the softmax weights
of long documents, so that memory grows with their length and not with its square. Letters: N positions, H heads, K
key-value heads, G = H / K, C blocks that are computed together, T queries of each, S keys that they attend to.
"""

from __future__ import annotations

import dataclasses
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
_MOST_SCORES = 1 << 18
"""Scores of a head in blocks that are computed together: they stay in the cache between the passes over them."""
_MOST_KEPT = 12
"""Bytes of softmax weights kept for the backward pass, by number of the queries: half of a layer's other memory."""


@dataclass(frozen=True)
class Block:
    """Block of queries and the keys they attend to; or several of one shape, at equal distances."""

    queries: slice
    """Queries of the first block."""
    keys: slice
    """Keys from the first that any of its queries attends to, up to the last query's own."""
    seen: Seen
    is_whole: bool
    """True if no query of another block attends to these keys."""
    count: int = 1
    """Number of blocks; their keys do not overlap."""
    distance: int = 0
    """Positions from one block to the next."""

    def of(self, heads: Tensor, rows: slice, num_kv_heads: int) -> Tensor:
        """View these rows of the first block in all blocks: (N, H, head_dim) -> (C, K, G, rows, head_dim)."""
        steps = heads.stride()
        size = self.count, rows.stop - rows.start, *heads.shape[1:]
        own = heads.as_strided(size, (self.distance * steps[0], *steps), heads.storage_offset() + rows.start * steps[0])
        return own.view(*size[:2], num_kv_heads, -1, size[3]).permute(0, 2, 3, 1, 4)


@functools.lru_cache(maxsize=4)  # cached: every layer of a step uses the same
def plan_blocks(document_lengths: tuple[int, ...], window: int | None) -> tuple[Block, ...]:
    """Divide the queries of successive documents into blocks; `window` as in `causal_attention`."""
    starts = np.repeat(np.cumsum([0, *document_lengths[:-1]]), document_lengths)  # (N,), of each position's document
    return _joined([_block(span, starts, window) for span in _spans(document_lengths)])


def _joined(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Join blocks of one shape whose distances are equal, a limited number each."""
    by_shape: dict[object, list[Block]] = {}
    for block in blocks:
        num_keys, seen = block.keys.stop - block.keys.start, block.seen
        most = _MOST_SCORES // (num_keys * len(seen.first))
        alike = by_shape.setdefault(
            (block.is_whole, *(bound.numpy().tobytes() for bound in (seen.first, seen.last))), []
        )
        for place, first in enumerate(alike):
            distance = block.queries.start - first.queries.start - (first.count - 1) * first.distance
            if first.count < most and distance >= num_keys and first.distance in (0, distance):
                alike[place] = dataclasses.replace(first, count=first.count + 1, distance=distance)
                break
        else:
            alike.append(block)
    return tuple(itertools.chain.from_iterable(by_shape.values()))


def keeps_weights(blocks: Sequence[Block], head_dim: int, dtype: torch.dtype) -> bool:
    """Return True if the softmax weights, `num_weights` of each head, are so few that they are kept."""
    num_queries = sum(block.count * len(block.seen.first) for block in blocks)
    return num_weights(blocks) * dtype.itemsize <= _MOST_KEPT * num_queries * head_dim


def num_weights(blocks: Sequence[Block]) -> int:
    """Return the number of softmax weights of a head."""
    return sum(block.count * len(block.seen.first) * (block.keys.stop - block.keys.start) for block in blocks)


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
        context.settings = blocks, scale, soft_cap
        keeps = (
            any(context.needs_input_grad)
            and soft_cap is None
            and keeps_weights(blocks, queries.shape[-1], queries.dtype)
        )
        kept = []
        mixed = torch.empty_like(queries, memory_format=torch.contiguous_format)
        num_kv_heads = keys.shape[1]
        for block in blocks:
            own_queries = _gathered(block, block.queries, queries, num_kv_heads)
            own_keys, own_values = (_gathered(block, block.keys, heads, num_kv_heads) for heads in (keys, values))
            scores, factor = _scores(own_queries, own_keys, scale, soft_cap)
            weights = softmax(scores, block.seen, scale=factor)  # (C * K, G * T, S)
            out = block.of(mixed, block.queries, num_kv_heads)
            out.copy_(torch.bmm(weights, own_values).view(out.shape))
            if keeps:
                kept.append(weights)
        context.save_for_backward(queries, keys, values, *kept)
        return mixed

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, *kept = context.saved_tensors
        blocks, scale, soft_cap = context.settings
        num_kv_heads = keys.shape[1]
        # Gradients to which several blocks add are accumulated in float32.
        sum_dtype = keys.dtype if all(block.is_whole for block in blocks) else torch.float32
        query_grads = torch.empty_like(queries, memory_format=torch.contiguous_format)
        key_grads, value_grads = (torch.zeros(tensor.shape, dtype=sum_dtype) for tensor in (keys, values))
        for number, block in enumerate(blocks):
            own_queries, grad = (_gathered(block, block.queries, heads, num_kv_heads) for heads in (queries, grads[0]))
            own_keys, own_values = (_gathered(block, block.keys, heads, num_kv_heads) for heads in (keys, values))
            if kept:
                weights, factor, cap_derivative = kept[number], scale, None
            else:
                scores, factor = _scores(own_queries, own_keys, scale, soft_cap)
                cap_derivative = None if soft_cap is None else (1 - (scores / soft_cap).square()) * scale
                weights = softmax(scores, block.seen, scale=factor)
            _add(torch.bmm(weights.transpose(1, 2), grad), block.of(value_grads, block.keys, num_kv_heads))
            weight_grads = torch.bmm(grad, own_values.transpose(1, 2))
            score_grads = softmax_backward(weights, weight_grads, block.seen, scale=factor)
            if cap_derivative is not None:
                score_grads *= cap_derivative
            out = block.of(query_grads, block.queries, num_kv_heads)
            out.copy_(torch.bmm(score_grads, own_keys).view(out.shape))
            _add(torch.bmm(score_grads.transpose(1, 2), own_queries), block.of(key_grads, block.keys, num_kv_heads))
        return query_grads, key_grads.to(keys.dtype), value_grads.to(values.dtype), None, None, None


def _gathered(block: Block, rows: slice, heads: Tensor, num_kv_heads: int) -> Tensor:
    """Lay out the query heads of a key-value head as more rows: (N, H, head_dim) -> (C * K, G * T, head_dim)."""
    own = block.of(heads, rows, num_kv_heads)
    return own.reshape(block.count * num_kv_heads, -1, heads.shape[-1])


def _add(gathered: Tensor, total: Tensor) -> None:
    """Add a result in the layout of `_gathered` to a view by `Block.of`."""
    total.add_(gathered.view(total.shape))


def _scores(queries: Tensor, keys: Tensor, scale: float, soft_cap: float | None) -> tuple[Tensor, float]:
    """Compute scores (C * K, G * T, S) of (C * K, G * T, head_dim) and (C * K, S, head_dim), and the scale to apply."""
    scores = torch.bmm(queries, keys.transpose(1, 2))
    return (scores, scale) if soft_cap is None else (torch.tanh(scores * (scale / soft_cap)) * soft_cap, 1.0)
