"""What a dry run says of memory is what a step leaves for its backward pass, counted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nextword.models import recomputation
from nextword.training.initial_weights import initial_transformer
from nextword.training.plan_run import plan_run
from nextword.training.pretrain_recipe import ModelShape
from nextword.training.recipe import ComputeRecipe, Recipe


def kept_bytes(model: torch.nn.Module, token_ids: Tensor) -> int:
    """Memory that autograd holds after a forward pass of training, besides the weights."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> object:
        packed = recomputation._pack(tensor)
        if isinstance(packed, Tensor):
            kept[packed.untyped_storage().data_ptr()] = packed
        return packed

    with torch.autograd.graph.saved_tensors_hooks(keep, recomputation._unpack):
        model.hidden_states(token_ids)  # type: ignore[operator]
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_memory_of_a_batch_is_near_what_autograd_keeps(precision: str) -> None:
    config = ModelShape(hidden_size=96, num_layers=4, num_heads=4).config(vocab_size=64, context=128)
    recipe = Recipe(steps=10, compute=ComputeRecipe(precision=precision))  # type: ignore[arg-type]
    plan = plan_run(config, recipe, batch_size=4, row_length=128)
    model = initial_transformer(config, seed=0).to(plan.dtype)
    kept = kept_bytes(model, torch.zeros(4, 128, dtype=torch.int64))
    assert plan.batch_bytes == pytest.approx(1.4 * kept, rel=0.3)  # at its peak there are gradients, too
    assert plan.num_weights == plan.num_trained == sum(parameter.numel() for parameter in model.parameters())
    assert plan.num_tokens == 10 * 4 * 128


def test_what_is_frozen_or_computed_twice_takes_less() -> None:
    config = ModelShape(hidden_size=96, num_layers=4, num_heads=4).config(vocab_size=64, context=128)

    def plan(**compute: object) -> tuple[int, int]:
        recipe = Recipe(steps=1, compute=ComputeRecipe(precision="float32", **compute))  # type: ignore[arg-type]
        made = plan_run(config, recipe, batch_size=4, row_length=128)
        return made.state_bytes, made.batch_bytes

    state, batch = plan()
    assert plan(freeze=("layers.*",))[0] < state / 2
    assert plan(gradient_checkpointing=True)[1] < batch / 2
    assert plan(accumulation=2) == (state * 16 // 12, batch)  # gradients stay from one batch to the next
    assert plan(ema=0.9)[0] == state * 16 // 12
