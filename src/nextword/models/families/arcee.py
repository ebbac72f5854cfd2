"""Arcee (AFM): Llama whose MLP has no gate, and a squared ReLU."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, llama, shared
from nextword.models.families.family import GGUFMapping
from nextword.models.families.fields import ConfigFields


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    return dataclasses.replace(
        llama.config_from_hf(fields),
        family="arcee",
        norm_eps=fields.number("rms_norm_eps", 1e-5),
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "relu2"),
        is_gated=False,
    )


FAMILY = dataclasses.replace(
    llama.FAMILY,
    model_type="arcee",
    architecture="ArceeForCausalLM",
    config_from_hf=config_from_hf,
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.UNGATED_MLP,
    gguf=GGUFMapping(
        architecture="arcee",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.PAIRED_QKV
        + gguf_names.OUT
        + gguf_names.UNGATED_MLP,
    ),
)
