"""Gemma 2: norms on both sides, soft caps, a sliding window in every other layer, scaled embeddings."""

from __future__ import annotations

import math
from typing import Any

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope

NORMS = shared.same(
    ("model.layers.{i}.input_layernorm", "layers.{i}.attention_norm"),
    ("model.layers.{i}.post_attention_layernorm", "layers.{i}.post_attention_norm"),
    ("model.layers.{i}.pre_feedforward_layernorm", "layers.{i}.mlp_norm"),
    ("model.layers.{i}.post_feedforward_layernorm", "layers.{i}.post_mlp_norm"),
)


def read_gemma(fields: ConfigFields, *, pattern: int) -> dict[str, Any]:
    """Read the arguments of ModelConfig common to Gemma 2 and 3; of each `pattern` layers all but the last slide."""
    shape = shared.read_shape(fields, head_dim=256)
    fields.require("use_bidirectional_attention", False)
    scalar = fields.number("query_pre_attn_scalar", 256.0)
    if scalar <= 0:
        fields.refuse("query_pre_attn_scalar", "a positive number")
    has_bias = fields.flag("attention_bias", False)
    layers = range(shape["num_layers"])
    window = shared.read_window(fields, 4096)
    sliding = tuple(layer for layer in layers if (layer + 1) % pattern)
    activation_name = "hidden_activation" if fields.has("hidden_activation") else "hidden_act"
    return {
        **shape,
        "norm_offset": 1.0,
        "norm_placement": "both",
        "activation": fields.choice(activation_name, shared.ACTIVATIONS, "gelu_pytorch_tanh"),
        "sliding_window": window,
        "sliding_layers": () if window is None else shared.read_sliding_layers(fields, len(layers), sliding),
        "attention_scale": scalar**-0.5,
        "embedding_scale": math.sqrt(shape["hidden_size"]),
        "is_tied": fields.flag("tie_word_embeddings", True),
        "qkv_bias": has_bias,
        "attention_out_bias": has_bias,
    }


def write_gemma(config: ModelConfig) -> dict[str, object]:
    """Write the fields of `read_gemma` for config.json."""
    activation = shared.PUBLISHED_ACTIVATIONS[config.activation]
    scalar = config.attention_scale**-2
    return {
        **shared.write_shape(config),
        "hidden_act": activation,
        "hidden_activation": activation,
        "query_pre_attn_scalar": round(scalar) if math.isclose(scalar, round(scalar)) else scalar,
        "sliding_window": config.sliding_window,
        "layer_types": shared.write_layer_types(config),
        "attention_bias": config.qkv_bias,
        "attn_logit_softcapping": config.attention_soft_cap,
        "final_logit_softcapping": config.logit_soft_cap,
    }


def read_cap(fields: ConfigFields, name: str, default: float | None) -> float | None:
    """Read a soft cap; an explicit null means none."""
    if fields.has(name):
        return fields.number(name)
    return None if name in fields.content else default


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = read_gemma(fields, pattern=2)
    return ModelConfig(
        family="gemma2",
        **shape,
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        attention_soft_cap=read_cap(fields, "attn_logit_softcapping", 50.0),
        logit_soft_cap=read_cap(fields, "final_logit_softcapping", 30.0),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {**write_gemma(config), **write_rope(rope_of(config))}


FAMILY = Family(
    model_type="gemma2",
    architecture="Gemma2ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="gemma2",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.POST_NORMS
        + gguf_names.QKV
        + gguf_names.OUT
        + gguf_names.MLP,
        norm_offset=1.0,
        settings={
            "sliding_window": "attention.sliding_window",
            "layer_types": "attention.sliding_window_pattern",
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
        },
        defaults={"sliding_window": 4096},
        wide_scale_layers=46,
    ),
)
