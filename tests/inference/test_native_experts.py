"""Experts in the native backend: ties of the router, encodings of the experts' weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nextword._native")

from nextword.inference.backend import Weights  # noqa: E402
from nextword.inference.torch_backend import TorchBackend  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.config import ModelConfig  # noqa: E402
from nextword.models.experts import Experts  # noqa: E402
from nextword.models.stored_tensor import StoredTensor  # noqa: E402
from tests.inference.native import CONFIG, logits_of, mean_divergence, native, random_text, random_weights  # noqa: E402


def config_of(count: int, per_token: int) -> ModelConfig:
    experts = Experts(count=count, per_token=per_token, intermediate_size=40, layers=(0, 1), is_normalized=True)
    return dataclasses.replace(CONFIG, experts=experts)


@pytest.mark.parametrize(("count", "per_token"), [(8, 2), (64, 8), (60, 4), (4, 3), (128, 2)])
@pytest.mark.parametrize("num_distinct", [1, 3])
def test_between_equal_experts_both_backends_choose_the_same(count: int, per_token: int, num_distinct: int) -> None:
    """A router that was never trained, or whose experts were copied, gives equal logits; torch.topk decides."""
    config = config_of(count, per_token)
    tensors = random_weights(config)
    for name in ("layers.0.mlp.router.weight", "layers.1.mlp.router.weight"):
        rows = tensors[name].data[np.arange(count) % num_distinct] * (num_distinct > 1)
        tensors[name] = StoredTensor(name, "F32", rows.shape, rows)
    text = random_text(70)
    expected = logits_of(TorchBackend(build_transformer(config, tensors)), text)
    np.testing.assert_allclose(logits_of(native(config, tensors), text), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("weights", "most"), [("bf16", 1e-3), ("q8", 5e-3), ("q4", 0.3)])
def test_experts_have_every_encoding_that_other_weights_have(weights: Weights, most: float) -> None:
    config = config_of(6, 6)  # all of them, since a rounded number may tip a token to another
    tensors, text = random_weights(config), random_text(120)
    exact, rounded = native(config, tensors), native(config, tensors, weights=weights)
    assert mean_divergence(logits_of(exact, text), logits_of(rounded, text)) < most
    assert rounded.weight_bytes < 0.6 * exact.weight_bytes
