"""`look_inside`: what the layers of a transformer do with a text: where heads look, and what each layer would guess."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nextword.models.attention import weights_of_last
from nextword.models.transformer import Layer, Transformer


@dataclass(frozen=True)
class Insight:
    """Attention and outputs of all layers at the last position of a text."""

    attention: Tensor
    """Weight of each earlier token for each head of each layer, (layers, H, T)."""
    logits: Tensor
    """Logits of the embedding and of each layer's output, as if it were the last: (layers + 1, V)."""


@torch.inference_mode()
def look_inside(model: Transformer, token_ids: Sequence[int]) -> Insight:
    """Run a text through the model and keep what its layers do at the last token (logit lens, nostalgebraist 2020)."""
    attention: list[Tensor] = []
    hidden: list[Tensor] = []

    def keep_attention(module: Any, inputs: tuple[Any, ...]) -> None:
        queries, keys, _ = module.heads(inputs[0], inputs[1])
        how = {"scale": module.scale, "window": module.window, "soft_cap": module.soft_cap}
        attention.append(weights_of_last(queries[0], keys[0], **how))

    def keep_hidden(module: Any, inputs: tuple[Any, ...]) -> None:
        hidden.append(inputs[0][0, -1])

    def keep_last(module: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        hidden.append(output[0, -1])

    with contextlib.ExitStack() as hooks:
        for layer in model.layers:
            hooks.callback(layer.register_forward_pre_hook(keep_hidden).remove)
            assert isinstance(layer, Layer)
            hooks.callback(layer.attention.register_forward_pre_hook(keep_attention).remove)
        hooks.callback(model.layers[-1].register_forward_hook(keep_last).remove)
        model(torch.tensor([list(token_ids)]), last_rows=1)
    return Insight(torch.stack(attention), model.lens(torch.stack(hidden)))
