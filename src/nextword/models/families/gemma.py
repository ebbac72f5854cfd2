"""Gemma 1: Llama with scaled embeddings, and norms whose files hold weight - 1."""

from __future__ import annotations

import math

from nextword.models.config import Activation, ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope

ACTIVATIONS: dict[str, Activation] = {**shared.ACTIVATIONS, "gelu": "gelu_tanh"}
"""The first release wrote "gelu" for the tanh approximation that it was trained with."""


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, head_dim=256)
    fields.require("use_bidirectional_attention", False)
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="gemma",
        **shape,
        norm_offset=1.0,
        activation=fields.choice("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        embedding_scale=math.sqrt(shape["hidden_size"]),
        is_tied=fields.flag("tie_word_embeddings", True),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
    }


FAMILY = Family(
    model_type="gemma",
    architecture="GemmaForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="gemma",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.QKV + gguf_names.OUT + gguf_names.MLP,
        norm_offset=1.0,
    ),
)
