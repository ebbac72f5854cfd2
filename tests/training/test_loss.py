"""The loss in chunks is PyTorch's cross-entropy over all logits, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nextword.data.batch import IGNORED
from nextword.training import loss
from nextword.training.loss import sum_of_nats

Case = tuple[Tensor, Tensor, Tensor, Tensor]


def random_case(dtype: torch.dtype = torch.float32) -> Case:
    """Hidden states (2, 30, 8), targets of which a third is ignored, weight (50, 8), bias (50,)."""
    random = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, 30, 8, generator=random).to(dtype).requires_grad_()
    weight = torch.randn(50, 8, generator=random).to(dtype).requires_grad_()
    bias = torch.randn(50, generator=random).to(dtype).requires_grad_()
    targets = torch.randint(0, 50, (2, 30), generator=random)
    targets[:, ::3] = IGNORED
    return hidden, targets, weight, bias


def plain(case: Case, *, soft_cap: float | None, z_loss: float) -> tuple[Tensor, list[Tensor]]:
    hidden, targets, weight, bias = case
    logits = F.linear(hidden.double(), weight.double(), bias.double()).flatten(0, 1)
    if soft_cap is not None:
        logits = torch.tanh(logits / soft_cap) * soft_cap
    nats = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
    log_sums = torch.logsumexp(logits[targets.flatten() != IGNORED], dim=-1)
    grads = torch.autograd.grad((nats + z_loss * log_sums.square().sum()) / 40, [hidden, weight, bias])
    return nats, list(grads)


@pytest.mark.parametrize(("soft_cap", "z_loss"), [(None, 0.0), (3.0, 0.0), (None, 0.01), (3.0, 0.01)])
@pytest.mark.parametrize(("chunk", "row_bytes"), [(512, 1 << 20), (7, 600)])
def test_value_and_gradients_are_those_of_the_whole_logits(
    soft_cap: float | None, z_loss: float, chunk: int, row_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_POSITIONS", chunk)
    monkeypatch.setattr(loss, "_ROW_BYTES", row_bytes)
    case = hidden, targets, weight, bias = random_case()
    nats, objective = sum_of_nats(hidden, targets, (weight, bias), soft_cap=soft_cap, z_loss=z_loss)
    grads = torch.autograd.grad(objective / 40, [hidden, weight, bias])
    expected, expected_grads = plain(case, soft_cap=soft_cap, z_loss=z_loss)
    torch.testing.assert_close(nats.double(), expected, rtol=1e-6, atol=0)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        assert float((grad - expected_grad).norm() / expected_grad.norm()) < 1e-6


def test_in_bfloat16_the_sums_are_kept_in_float32() -> None:
    case = hidden, targets, weight, bias = random_case(torch.bfloat16)
    _, objective = sum_of_nats(hidden, targets, (weight, bias))
    grads = torch.autograd.grad(objective / 40, [hidden, weight, bias])
    for grad, expected in zip(grads, plain(case, soft_cap=None, z_loss=0.0)[1], strict=True):
        assert grad.dtype == torch.bfloat16
        assert float((grad.float() - expected.float()).norm() / expected.float().norm()) < 0.02


def test_without_targets_nothing_is_lost_and_nothing_pulls() -> None:
    hidden, targets, weight, _ = random_case()
    nats, objective = sum_of_nats(hidden, torch.full_like(targets, IGNORED), (weight, None))
    assert float(nats) == 0.0
    assert all(not grad.any() for grad in torch.autograd.grad(objective, [hidden, weight]))


def test_without_gradients_only_the_value_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, targets, weight, _ = random_case()
    with torch.no_grad(), monkeypatch.context() as patch:
        patch.setattr(loss, "_add_product", None)
        nats, _ = sum_of_nats(hidden, targets, (weight, None))
    assert float(nats) == float(sum_of_nats(hidden, targets, (weight, None))[0])
    frozen = sum_of_nats(hidden, targets, (weight.detach(), None))[1]
    assert torch.autograd.grad(frozen, [hidden])[0].any()
