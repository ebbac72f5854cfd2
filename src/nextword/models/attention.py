"""Causal scaled dot-product attention, without weights or cache: queries, keys and values in, weighted values out.

PyTorch's kernel is used where it applies. Masks are made for a block of queries at a time, so memory grows with the
length of the sequence, not with its square. Letters: B sequences, H heads, K key-value heads, T queries, S keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nextword.models.block_attention import block_attention, plan_blocks
from nextword.models.core_attention import core_attention, runs_in_core

_QUERY_BLOCK = 256
"""Queries in a masked block: enough to keep the kernels busy, few enough for a mask of a few megabytes."""


def causal_attention(
    queries: Tensor, keys: Tensor, values: Tensor, *, scale: float, window: int | None, soft_cap: float | None
) -> Tensor:
    """Attend from each query to the keys up to its own position; the last query is at the last key.

    queries (B, H, T, head_dim), keys and values (B, K, S, head_dim) -> (B, H, T, head_dim). `window`: number of latest
    keys that a query attends to, its own included. `soft_cap`: c in c * tanh(score / c), before the softmax.
    """
    num_queries, num_keys = queries.shape[2], keys.shape[2]
    if window is not None and num_keys <= window:
        window = None
    if num_queries == 1:
        start = 0 if window is None else num_keys - window
        return _attend(queries, keys[:, :, start:], values[:, :, start:], None, scale, soft_cap)
    if num_queries == num_keys and window is None and soft_cap is None:
        return F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, scale=scale, enable_gqa=keys.shape[1] != queries.shape[1]
        )
    blocks = []
    for first in range(0, num_queries, _QUERY_BLOCK):
        last = min(first + _QUERY_BLOCK, num_queries)
        end = num_keys - num_queries + last
        start = 0 if window is None else max(0, end - (last - first) - window + 1)
        mask = _causal_mask(last - first, end - start, window, queries.device)
        block = _attend(
            queries[:, :, first:last], keys[:, :, start:end], values[:, :, start:end], mask, scale, soft_cap
        )
        blocks.append(block)
    return torch.cat(blocks, dim=2)


def packed_causal_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    document_lengths: tuple[int, ...],
    *,
    scale: float,
    window: int | None,
    soft_cap: float | None,
) -> Tensor:
    """Attend causally within each document of packed rows, as if each stood alone.

    queries (B, T, H, head_dim), keys and values (B, T, K, head_dim) -> (B, T, H, head_dim). `document_lengths`: tokens
    of each document, in the order of the B * T positions.
    """
    if queries.device.type == "cpu":
        rows = queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1)
        if runs_in_core(queries, keys, document_lengths, soft_cap=soft_cap):
            return core_attention(*rows, document_lengths, scale=scale, window=window).view_as(queries)
        blocks = plan_blocks(document_lengths, window)
        return block_attention(*rows, blocks=blocks, scale=scale, soft_cap=soft_cap).view_as(queries)
    # One call for each document costs less than one with a mask, which computes products and discards them.
    lengths = list(document_lengths)
    parts = (torch.split(tensor.flatten(0, 1), lengths) for tensor in (queries, keys, values))
    mixed = [
        causal_attention(*(part.transpose(0, 1)[None] for part in parts), scale=scale, window=window, soft_cap=soft_cap)
        for parts in zip(*parts, strict=True)
    ]  # of (1, H, length, head_dim)
    return torch.cat([part[0].transpose(0, 1) for part in mixed]).view_as(queries)


def weights_of_last(
    queries: Tensor, keys: Tensor, *, scale: float, window: int | None, soft_cap: float | None
) -> Tensor:
    """Return how much each head's last query attends to each key: queries (T, H, d), keys (T, K, d) -> (H, T).

    `window` and `soft_cap` are as in `causal_attention`. The weights of a head sum to 1.
    """
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)  # (T, H, d)
    scores = torch.einsum("hd,thd->ht", queries[-1], keys) * scale
    if soft_cap is not None:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    if window is not None:
        scores[:, : max(len(keys) - window, 0)] = -torch.inf
    return torch.softmax(scores, dim=-1)


def _causal_mask(num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor:
    """Return the attention mask (T, S), True if a query attends to a key; the last query is at the last key."""
    position = torch.arange(num_keys, device=device)
    query_position = position[num_keys - num_queries :, None]
    mask = position <= query_position
    return mask if window is None else mask & (position > query_position - window)


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float, soft_cap: float | None
) -> Tensor:
    """Attend with a mask (T, S) or none; the query heads of one key-value head are laid out as more queries."""
    batch_size, num_heads, num_queries, head_dim = queries.shape
    groups = num_heads // keys.shape[1]
    grouped = queries.reshape(batch_size, keys.shape[1], groups * num_queries, head_dim)
    if mask is not None and groups > 1:
        mask = mask.repeat(groups, 1)
    if soft_cap is None:
        mixed = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=scale)
    else:
        scores = grouped @ keys.transpose(2, 3)  # (B, K, groups * T, S)
        scores = torch.tanh(scores * (scale / soft_cap)) * soft_cap
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        mixed = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype) @ values
    return mixed.view(batch_size, num_heads, num_queries, head_dim)
