"""Values that are computed again give the gradients that kept ones give, bit by bit, and are not kept meanwhile."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor

from nextword.models.config import ModelConfig
from nextword.models.passes import activate, rms_norm
from nextword.models.recomputation import Recomputing, recomputable
from nextword.models.transformer import Transformer
from nextword.native import native
from tests.models.test_transformer import CONFIG

WITH_LAYER_NORMS = dataclasses.replace(
    CONFIG, norm="layer", is_gated=False, activation="gelu_tanh", qkv_bias=True, mlp_bias=True
)


def gradients(config: ModelConfig, dtype: torch.dtype, context: AbstractContextManager[object]) -> list[Tensor | None]:
    torch.manual_seed(0)
    model = Transformer(config).to(dtype)
    with context:
        hidden = model.hidden_states(torch.arange(12).view(2, 6) % 13)
    hidden.square().sum().backward()  # type: ignore[no-untyped-call]
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("config", [CONFIG, WITH_LAYER_NORMS], ids=["rms norms, gated", "layer norms, biases"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_bit_by_bit_those_of_kept_values(config: ModelConfig, dtype: torch.dtype) -> None:
    kept, again = gradients(config, dtype, nullcontext()), gradients(config, dtype, Recomputing())
    assert sum(gradient is not None for gradient in kept) > 10
    for one, other in zip(kept, again, strict=True):
        assert (one is None and other is None) or (one is not None and other is not None and torch.equal(one, other))


@pytest.mark.skipif(native is None, reason="norms and activations of PyTorch keep what they like")
def test_norms_and_activations_are_not_kept() -> None:
    hidden, gate = torch.randn(2, 64, 32).requires_grad_(), torch.randn(2, 64, 32).requires_grad_()
    weight, matrix = torch.ones(32), torch.randn(32, 32).requires_grad_()
    with Recomputing():
        normed = rms_norm(hidden, weight, 1e-5)
        products = normed @ matrix, activate(normed, gate, "silu") @ matrix
    kept = [product.grad_fn.next_functions[0][0]._raw_saved_self.data for product in products]  # type: ignore[union-attr]
    assert not any(isinstance(value, Tensor) for value in kept)


def test_a_value_is_computed_once_for_all_that_read_it() -> None:
    computed = []

    def compute() -> Tensor:
        computed.append(1)
        return hidden.detach() * 2

    hidden = torch.randn(3, 4, requires_grad=True)
    matrices = [torch.randn(4, 4, requires_grad=True) for _ in range(3)]
    with Recomputing():
        doubled = recomputable(hidden * 2, compute)
        total = sum((doubled @ matrix).sum() for matrix in matrices)
    assert isinstance(total, Tensor)
    total.backward()  # type: ignore[no-untyped-call]
    assert len(computed) == 1
    assert matrices[2].grad is not None
    torch.testing.assert_close(matrices[2].grad, (hidden * 2).sum(0)[:, None].expand(4, 4).detach())
