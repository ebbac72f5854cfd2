"""GLM-4 and GLM-Edge: part of each head rotated in neighbouring pairs, gate and up in one matrix."""

from __future__ import annotations

from typing import Any

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping, WeightRule
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def read_glm(fields: ConfigFields) -> dict[str, Any]:
    """Read the arguments of ModelConfig common to GLM and GLM-4-0414."""
    shape = shared.read_shape(fields, eps=1.5625e-07, head_dim=128)
    return {
        **shape,
        "activation": fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        "rope": read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], share=0.5),
        "is_tied": fields.flag("tie_word_embeddings", False),
        "qkv_bias": fields.flag("attention_bias", True),
    }


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    return ModelConfig(family="glm", **read_glm(fields))


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    rope = rope_of(config)
    return {
        **shared.write_shape(config),
        **write_rope(rope),
        "partial_rotary_factor": rope.rotary_dim / config.head_dim,
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
    }


MLP = (
    WeightRule(
        "model.layers.{i}.mlp.gate_up_proj",
        ("layers.{i}.mlp.gate_proj", "layers.{i}.mlp.up_proj"),
        rows=shared.gate_up_rows,
    ),
    *shared.same(("model.layers.{i}.mlp.down_proj", "layers.{i}.mlp.down_proj")),
)

FAMILY = Family(
    model_type="glm",
    architecture="GlmForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.PAIRED_ATTENTION + MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="chatglm",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.FUSED_MLP,
    ),
)
