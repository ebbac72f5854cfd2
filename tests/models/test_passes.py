"""Passes over activations give what PyTorch's operations give in float64, in C++ as without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nextword.models import passes
from nextword.models.config import Activation
from nextword.models.passes import Seen, activate, cross_entropy, rms_norm, rotate, softmax, softmax_backward

SIZES = (1, 16, 37, 576)
TYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 6e-3)])


@pytest.fixture(params=["core", "PyTorch"], autouse=True)
def with_and_without_the_core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "PyTorch":
        monkeypatch.setattr(passes, "native", None)


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def agree(
    found: Callable[..., Tensor], expected: Callable[..., Tensor], inputs: Sequence[Tensor], tolerance: float
) -> None:
    """Values, and the gradients of all inputs."""
    dtype = inputs[0].dtype
    results = []
    for function, kind in ((found, dtype), (expected, torch.float64)):
        leaves = [tensor.detach().to(kind).requires_grad_() for tensor in inputs]
        out = function(*leaves)
        pull = random(*out.shape, dtype=dtype, seed=9).to(kind)
        results.append([out.detach(), *torch.autograd.grad(out, leaves, pull)])
    for value, exact in zip(*results, strict=True):
        assert value.dtype == dtype
        assert float(torch.dist(value.double(), exact)) <= tolerance * float(exact.norm()) + 1e-6


@TYPES
@pytest.mark.parametrize("size", SIZES)
def test_rms_norm(size: int, dtype: torch.dtype, tolerance: float) -> None:
    inputs = [random(5, 7, size, dtype=dtype), random(size, dtype=dtype, seed=1)]
    agree(
        lambda x, weight: rms_norm(x, weight, 1e-5),
        lambda x, weight: F.rms_norm(x, weight.shape, weight, 1e-5),
        inputs,
        tolerance,
    )


PLAIN: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
}


@TYPES
@pytest.mark.parametrize("activation", PLAIN)
@pytest.mark.parametrize("size", SIZES)
def test_activations(size: int, activation: Activation, dtype: torch.dtype, tolerance: float) -> None:
    hidden, gated = 3 * random(4, size, dtype=dtype), random(4, size, dtype=dtype, seed=1)
    plain = PLAIN[activation]
    agree(lambda x: activate(x, None, activation), plain, [hidden], tolerance)
    agree(lambda x, y: activate(x, y, activation), lambda x, y: plain(x) * y, [hidden, gated], 2 * tolerance)


@TYPES
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(("rotary_dim", "head_dim"), [(2, 2), (24, 24), (64, 64), (8, 20)])
def test_rotation(rotary_dim: int, head_dim: int, is_packed: bool, dtype: torch.dtype, tolerance: float) -> None:
    rows = (3,) if is_packed else ()  # rows of packed documents have positions of their own
    angles = 3 * random(*rows, 5, 1, rotary_dim // 2, seed=1)
    cosine = torch.cat((angles.cos(), angles.cos()), dim=-1).to(dtype)
    signed_sine = torch.cat((-angles.sin(), angles.sin()), dim=-1).to(dtype)

    def plain(heads: Tensor) -> Tensor:
        turned, rest = heads[..., :rotary_dim], heads[..., rotary_dim:]
        exchanged = torch.cat((turned[..., rotary_dim // 2 :], turned[..., : rotary_dim // 2]), dim=-1)
        return torch.cat((turned * cosine.double() + exchanged * signed_sine.double(), rest), dim=-1)

    agree(lambda heads: rotate(heads, cosine, signed_sine), plain, [random(3, 5, 4, head_dim, dtype=dtype)], tolerance)


@TYPES
def test_softmax_over_the_keys_that_are_seen(dtype: torch.dtype, tolerance: float) -> None:
    seen = Seen(torch.tensor([0, 0, 3, 20], dtype=torch.int32), torch.tensor([1, 37, 4, 37], dtype=torch.int32))
    scores, grad = 4 * random(2, 8, 37, dtype=dtype), random(2, 8, 37, dtype=dtype, seed=1)
    exact_scores = scores.double().requires_grad_()
    exact = torch.softmax(exact_scores.view(2, 2, 4, 37) * 0.7 + seen.mask(37, torch.float64), dim=-1).view(2, 8, 37)
    (exact_grad,) = torch.autograd.grad(exact, exact_scores, grad.double())
    weights = softmax(scores.clone(), seen, scale=0.7)
    assert float(torch.dist(weights.double(), exact.detach()) / exact.detach().norm()) < tolerance
    score_grad = softmax_backward(weights, grad.clone(), seen, scale=0.7)
    assert float(torch.dist(score_grad.double(), exact_grad) / exact_grad.norm()) < 2 * tolerance
    unseen = seen.mask(37, torch.float64).isinf()
    assert not weights.view(2, 2, 4, 37)[:, :, unseen].any()
    assert not score_grad.view(2, 2, 4, 37)[:, :, unseen].any()


@TYPES
@pytest.mark.parametrize("size", [5, 50_003])
def test_cross_entropy(size: int, dtype: torch.dtype, tolerance: float) -> None:
    if not passes.runs_native(torch.empty(0)):
        pytest.skip("of the core alone; `loss` has the other way")
    logits, targets = 3 * random(6, size, dtype=dtype), torch.tensor([0, 1, 2, 3, 4, size - 1])
    exact_logits = logits.double().requires_grad_()
    sums = torch.logsumexp(exact_logits, dim=1)
    at_targets = exact_logits.gather(1, targets[:, None])[:, 0]
    (slopes,) = torch.autograd.grad((sums - at_targets + 0.01 * sums.square()).sum(), exact_logits)
    untouched = logits.clone()
    found = cross_entropy(untouched, targets, z_loss=0.01, has_grad=False)
    assert torch.equal(untouched, logits)
    torch.testing.assert_close(found[0].double(), sums.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found[1].double(), at_targets.detach(), rtol=0, atol=0)
    again = cross_entropy(logits, targets, z_loss=0.01, has_grad=True)
    assert torch.equal(again[0], found[0])
    assert float(torch.dist(logits.double(), slopes) / slopes.norm()) < tolerance


def test_what_is_summed_does_not_depend_on_the_number_of_threads() -> None:
    hidden, weight = random(300, 65, dtype=torch.float32).requires_grad_(), random(65, dtype=torch.float32, seed=1)
    weight.requires_grad_()
    num_threads, grads = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        grads.append(torch.autograd.grad(rms_norm(hidden, weight, 1e-5).square().sum(), [weight])[0])
    torch.set_num_threads(num_threads)
    if passes.runs_native(hidden):
        assert torch.equal(grads[0], grads[1])
        assert torch.equal(grads[0], grads[2])
