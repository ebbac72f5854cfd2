"""Phi-3, Phi-3.5 and Phi-4 (mini): Llama with fused projections, LongRoPE, and part of each head rotated."""

from __future__ import annotations

import math

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping, WeightRule
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import longrope_attention_factor, read_rope, rope_of, write_rope
from nextword.models.rope import LongRopeScaling


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-5)
    window = shared.read_window(fields)
    return ModelConfig(
        family="phi3",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], share=1.0, original=4096),
        sliding_window=window,
        sliding_layers=() if window is None else tuple(range(shape["num_layers"])),
        is_tied=fields.flag("tie_word_embeddings", False),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    rope = rope_of(config)
    fields = {
        **shared.write_shape(config),
        **write_rope(rope),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "sliding_window": config.sliding_window,
        "partial_rotary_factor": rope.rotary_dim / config.head_dim,
        "original_max_position_embeddings": config.max_seq_len,
    }
    scaling = rope.scaling
    if isinstance(scaling, LongRopeScaling):
        original = scaling.original_max_seq_len
        fields["original_max_position_embeddings"] = original
        inferred = longrope_attention_factor(config.max_seq_len / original, original)
        if not math.isclose(scaling.attention_factor, inferred):
            fields["rope_scaling"] |= {"attention_factor": scaling.attention_factor}  # type: ignore[operator]
    return fields


FUSED = (
    WeightRule(
        "model.layers.{i}.self_attn.qkv_proj",
        ("layers.{i}.attention.q_proj", "layers.{i}.attention.k_proj", "layers.{i}.attention.v_proj"),
        rows=shared.qkv_rows,
    ),
    WeightRule(
        "model.layers.{i}.mlp.gate_up_proj",
        ("layers.{i}.mlp.gate_proj", "layers.{i}.mlp.up_proj"),
        rows=shared.gate_up_rows,
    ),
)

UNFUSED = shared.same(
    ("model.layers.{i}.self_attn.o_proj", "layers.{i}.attention.o_proj"),
    ("model.layers.{i}.mlp.down_proj", "layers.{i}.mlp.down_proj"),
)

FAMILY = Family(
    model_type="phi3",
    architecture="Phi3ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + FUSED + UNFUSED,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="phi3",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.FUSED_QKV + gguf_names.OUT + gguf_names.FUSED_MLP,
        settings={"sliding_window": "attention.sliding_window"},
    ),
)
