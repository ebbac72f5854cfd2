"""Initial weights of a new model, drawn from one seed, the same on every machine."""

from __future__ import annotations

import math

import torch

from nextword.models.config import ModelConfig
from nextword.models.transformer import Transformer

_INTO_RESIDUAL = ("o_proj.weight", "down_proj.weight")
"""Matrices whose results are added to the residual stream; scaled down so that the sum keeps its size (GPT-2)."""


def initial_transformer(config: ModelConfig, *, seed: int) -> Transformer:
    """Make a transformer with random matrices, norms of weight 1 and biases of 0."""
    with torch.device("meta"):
        transformer = Transformer(config)
    transformer.to_empty(device="cpu")
    random = torch.Generator().manual_seed(seed)
    spread = math.sqrt(2 / (5 * config.hidden_size))  # the same for all matrices of a size (arXiv:1910.05895)
    damped = 1 / (config.num_layers * math.sqrt(config.hidden_size))
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, damped if name.endswith(_INTO_RESIDUAL) else spread, generator=random)
            elif name.endswith(".bias"):
                parameter.zero_()
            else:
                parameter.fill_(1.0 - config.norm_offset)  # the weight of a norm is stored less its offset
    return transformer
