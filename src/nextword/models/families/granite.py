"""Granite 3: Llama with factors on embeddings, attention scores, residual stream and logits."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import llama
from nextword.models.families.family import GGUFMapping
from nextword.models.families.fields import ConfigFields

FACTORS = {
    "embedding_multiplier": "embedding_scale",
    "attention_multiplier": "attention.scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
}
"""Factors by field of config.json, with their keys in GGUF files."""


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    values = {name: fields.number(name, 1.0) for name in FACTORS}
    for name, value in values.items():
        if value <= 0:
            fields.refuse(name, "a positive number")
    return dataclasses.replace(
        llama.config_from_hf(fields),
        family="granite",
        embedding_scale=values["embedding_multiplier"],
        attention_scale=values["attention_multiplier"],
        residual_scale=values["residual_multiplier"],
        logit_scale=1 / values["logits_scaling"],
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **llama.config_to_hf(config),
        "embedding_multiplier": config.embedding_scale,
        "attention_multiplier": config.attention_scale,
        "residual_multiplier": config.residual_scale,
        "logits_scaling": 1 / config.logit_scale,
    }


FAMILY = dataclasses.replace(
    llama.FAMILY,
    model_type="granite",
    architecture="GraniteForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    gguf=GGUFMapping(architecture="granite", weights=llama.GGUF.weights, settings=FACTORS),
)
