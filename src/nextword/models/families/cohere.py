"""Cohere (Command R, Aya): attention and MLP side by side behind one norm without bias, pairs rotated side by side."""

from __future__ import annotations

from typing import Any

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def read_cohere(fields: ConfigFields, *, theta: float) -> dict[str, Any]:
    """Read the arguments of ModelConfig common to Cohere and Cohere 2."""
    shape = shared.read_shape(fields)
    shape["norm_eps"] = fields.number("layer_norm_eps", 1e-5)
    scale = fields.number("logit_scale", 0.0625)
    if scale <= 0:
        fields.refuse("logit_scale", "a positive number")
    has_bias = fields.flag("attention_bias", False)
    return {
        **shape,
        "norm": "layer",
        "norm_bias": False,
        "activation": fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        "rope": read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], theta=theta),
        "logit_scale": scale,
        "is_parallel": True,
        "is_norm_shared": True,
        "is_tied": fields.flag("tie_word_embeddings", True),
        "qkv_bias": has_bias,
        "attention_out_bias": has_bias,
    }


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("use_qk_norm", False)
    return ModelConfig(family="cohere", **read_cohere(fields, theta=500_000.0))


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    fields = {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "layer_norm_eps": config.norm_eps,
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "logit_scale": config.logit_scale,
        "attention_bias": config.qkv_bias,
    }
    del fields["rms_norm_eps"]
    return fields


GGUF = GGUFMapping(
    architecture="command-r",
    weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.MLP,
    settings={"logit_scale": "logit_scale"},
)

FAMILY = Family(
    model_type="cohere",
    architecture="CohereForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.PAIRED_ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUF,
)
