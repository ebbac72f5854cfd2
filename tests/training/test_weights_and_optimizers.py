"""What is trained, in which numbers, by which optimizer."""

from __future__ import annotations

import pytest
import torch

from nextword.errors import ConfigError
from nextword.training.optimizers import Optimizers
from nextword.training.recipe import OptimizerRecipe
from nextword.training.trained_weights import TrainedWeights, freeze
from tests.training.tiny import tiny_transformer


def backward(model: torch.nn.Module) -> None:
    model(torch.arange(6)[None]).float().square().mean().backward()


def test_frozen_weights_do_not_train_and_a_pattern_without_weights_is_refused() -> None:
    model = tiny_transformer()
    freeze(model, ("layers.0.*", "embedding.weight"))
    weights = TrainedWeights(model, dtype=torch.float32)
    assert {name.split(".")[0] for name in weights.tensors} == {"layers", "final_norm"}
    assert not any(name.startswith("layers.0.") for name in weights.tensors)
    with pytest.raises(ConfigError, match=r"freeze 'layer\.0' matches no weight"):
        freeze(tiny_transformer(), ("layer.0",))
    with pytest.raises(ConfigError, match="nothing to train"):
        freeze(tiny_transformer(), ("*",))


def test_gradients_of_rounded_copies_are_summed_in_float32() -> None:
    model = tiny_transformer()
    weights = TrainedWeights(model, dtype=torch.bfloat16)
    backward(model)
    once = weights.tensors["layers.0.mlp.up_proj.weight"].grad
    assert once is not None
    once = once.clone()
    for _ in range(2):
        backward(model)
    total = weights.tensors["layers.0.mlp.up_proj.weight"].grad
    assert total is not None
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, once + once + once, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_changes_too_small_for_bfloat16_are_kept() -> None:
    model = tiny_transformer()
    weights = TrainedWeights(model, dtype=torch.bfloat16)
    norm = weights.tensors["final_norm.weight"]
    for _ in range(64):
        norm += 1 / 1024  # each alone is less than half of bfloat16's step at 1
    weights.after_update()
    assert model.get_parameter("final_norm.weight").tolist() == [1.0625] * 16


def test_averages_follow_the_weights_and_take_their_place_for_a_while() -> None:
    model = tiny_transformer()
    weights = TrainedWeights(model, dtype=torch.float32, ema=0.75)
    with torch.no_grad():
        weights.tensors["final_norm.weight"].fill_(5.0)
    weights.after_update()
    norm = model.get_parameter("final_norm.weight")
    with weights.averaged():
        assert norm.tolist() == [2.0] * 16  # 0.75 * 1 + 0.25 * 5
    assert norm.tolist() == [5.0] * 16


def test_only_matrices_decay() -> None:
    model = tiny_transformer()
    weights = TrainedWeights(model, dtype=torch.float32)
    optimizers = Optimizers(weights.tensors, OptimizerRecipe(weight_decay=0.5))
    before = {name: tensor.detach().clone() for name, tensor in weights.tensors.items()}
    for tensor in weights.tensors.values():
        tensor.grad = torch.zeros_like(tensor)
    optimizers.step(0.1)
    for name, tensor in weights.tensors.items():
        torch.testing.assert_close(tensor, before[name] * (0.95 if tensor.ndim == 2 else 1.0))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizers_resume_with_what_they_remembered(name: str) -> None:
    recipe = OptimizerRecipe(optimizer=name)  # type: ignore[arg-type]
    results = []
    for is_interrupted in (False, True):
        model = tiny_transformer()
        weights = TrainedWeights(model, dtype=torch.float32)
        optimizers = Optimizers(weights.tensors, recipe)
        for step in range(4):
            if step == 2 and is_interrupted:
                state = {path: tensor.clone() for path, tensor in optimizers.state().items()}
                optimizers = Optimizers(weights.tensors, recipe)
                optimizers.resume(state)
            weights.clear_gradients()
            backward(model)
            optimizers.step(0.01)
        results.append(weights.tensors)
    for key, tensor in results[0].items():
        assert torch.equal(tensor, results[1][key])


def test_muon_takes_the_matrices_of_the_layers_and_leaves_the_tables() -> None:
    weights = TrainedWeights(tiny_transformer(), dtype=torch.float32)
    optimizers = Optimizers(weights.tensors, OptimizerRecipe(optimizer="muon"))
    for tensor in weights.tensors.values():
        tensor.grad = torch.ones_like(tensor)
    optimizers.step(0.01)
    state = optimizers.state()
    assert "layers.0.mlp.up_proj.weight.momentum_buffer" in state
    assert "embedding.weight.exp_avg" in state
    assert "final_norm.weight.exp_avg" in state
