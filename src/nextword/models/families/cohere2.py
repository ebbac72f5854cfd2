"""Cohere 2 (Command R7B): Cohere with a sliding window in three of four layers, and no positions in the others."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import cohere, shared
from nextword.models.families.family import GGUFMapping
from nextword.models.families.fields import ConfigFields


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = cohere.read_cohere(fields, theta=10_000.0)
    layers, window = range(shape["num_layers"]), shared.read_window(fields, 4096)
    every = shared.positive(fields, "sliding_window_pattern", 4)
    sliding = shared.read_sliding_layers(fields, len(layers), tuple(layer for layer in layers if (layer + 1) % every))
    if window is None:
        sliding = ()
    return ModelConfig(
        family="cohere2",
        **shape,
        layers_without_rope=tuple(layer for layer in layers if layer not in sliding),
        sliding_window=window,
        sliding_layers=sliding,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **cohere.config_to_hf(config),
        "sliding_window": config.sliding_window,
        "layer_types": shared.write_layer_types(config),
    }


FAMILY = dataclasses.replace(
    cohere.FAMILY,
    model_type="cohere2",
    architecture="Cohere2ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    gguf=GGUFMapping(
        architecture="cohere2",
        weights=cohere.GGUF.weights,
        settings={
            "logit_scale": "logit_scale",
            "sliding_window": "attention.sliding_window",
            "layer_types": "attention.sliding_window_pattern",
        },
    ),
)
