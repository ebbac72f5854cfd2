"""Attention in blocks is attention with one mask over everything, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nextword.models import block_attention as module
from nextword.models.block_attention import block_attention, plan_blocks

LENGTHS = ((7,), (3, 3, 3), (1, 20, 2, 2, 9, 5), (16, 33), (24, 24, 24), (8, 8, 5, 8, 11, 8, 8), (30, 1, 30, 1, 30))


def rows(dtype: torch.dtype, lengths: tuple[int, ...]) -> list[Tensor]:
    """Queries with 6 heads, keys and values with 2, and the gradient of what is mixed."""
    random = torch.Generator().manual_seed(1)
    shapes = [(sum(lengths), heads, 4) for heads in (6, 2, 2, 6)]
    return [torch.randn(shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def plain(tensors: list[Tensor], lengths: tuple[int, ...], window: int | None, soft_cap: float | None) -> list[Tensor]:
    queries, keys, values, grad = (tensor.double() for tensor in tensors)
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    distance = torch.arange(sum(lengths))[:, None] - torch.arange(sum(lengths))
    is_seen = (document[:, None] == document) & (distance >= 0) & (distance < (window or 1 << 20))
    scores = torch.einsum("qhd,khd->hqk", queries, keys.repeat_interleave(3, dim=1)) * 0.3
    if soft_cap is not None:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    weights = scores.masked_fill(~is_seen, -torch.inf).softmax(dim=-1)
    mixed = torch.einsum("hqk,khd->qhd", weights, values.repeat_interleave(3, dim=1))
    return [mixed, *torch.autograd.grad(mixed, tensors[:3], grad)]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("soft_cap", [None, 0.5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.015)])
def test_values_and_gradients_are_those_of_one_mask_over_everything(
    lengths: tuple[int, ...],
    window: int | None,
    soft_cap: float | None,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BLOCK_QUERIES", 8)
    plan_blocks.cache_clear()
    tensors = rows(dtype, lengths)
    blocks = plan_blocks(lengths, window)
    queries, keys, values, _ = tensors
    mixed = block_attention(queries, keys, values, blocks, scale=0.3, soft_cap=soft_cap)
    found = [mixed, *torch.autograd.grad(mixed, tensors[:3], tensors[3])]
    plan_blocks.cache_clear()
    for value, expected in zip(found, plain(tensors, lengths, window, soft_cap), strict=True):
        assert value.dtype == dtype
        assert float(torch.dist(value.detach().double(), expected.detach()) / expected.detach().norm()) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_have_the_same_bits_whether_weights_are_kept_or_computed_again(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, keys, values, grad = rows(dtype, (30, 1, 30))
    blocks, gradients = plan_blocks((30, 1, 30), None), []
    for most in (0, 1000):
        monkeypatch.setattr(module, "_MOST_KEPT", most)
        mixed = block_attention(queries, keys, values, blocks, scale=0.3, soft_cap=None)
        assert mixed.grad_fn is not None
        assert len(mixed.grad_fn.saved_tensors) == 3 + (len(blocks) if most else 0)  # type: ignore[attr-defined]
        gradients.append(torch.autograd.grad(mixed, (queries, keys, values), grad))
    assert all(torch.equal(again, kept) for again, kept in zip(*gradients, strict=True))


def test_short_documents_share_a_block_and_long_ones_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_QUERIES", 8)
    plan_blocks.cache_clear()
    blocks = plan_blocks((3, 4, 2, 17, 1), None)
    plan_blocks.cache_clear()
    assert sorted((block.queries.start, block.queries.stop, block.keys.start) for block in blocks) == [
        (0, 7, 0),
        (7, 9, 7),
        (9, 14, 9),
        (14, 20, 9),
        (20, 26, 9),
        (26, 27, 26),
    ]
    assert [block.is_whole for block in blocks] == [True, True, False, False, False, True]
    assert blocks[4].seen.first.tolist() == [0] * 6
    assert blocks[4].seen.last.tolist() == list(range(12, 18))
