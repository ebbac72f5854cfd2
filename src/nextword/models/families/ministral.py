"""Ministral: Mistral with the sliding window in some layers."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import mistral, shared
from nextword.models.families.fields import ConfigFields


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    config = mistral.config_from_hf(fields)
    layers = shared.read_sliding_layers(fields, config.num_layers, config.sliding_layers)
    has_window = config.sliding_window is not None
    return dataclasses.replace(config, family="ministral", sliding_layers=layers if has_window else ())


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {**mistral.config_to_hf(config), "layer_types": shared.write_layer_types(config)}


FAMILY = dataclasses.replace(
    mistral.FAMILY,
    model_type="ministral",
    architecture="MinistralForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    gguf=None,
)
