"""Qwen 3 with a mixture of experts in all layers, or in those that its settings choose."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.expert_fields import EXPERTS, GGUF_DEFAULTS, GGUF_SETTINGS, read_experts, write_experts
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    has_bias = fields.flag("attention_bias", False)
    window = shared.read_window(fields, 4096) if fields.flag("use_sliding_window", False) else None
    return ModelConfig(
        family="qwen3_moe",
        **shape,
        qk_norm="per_head",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        experts=read_experts(fields, shape["num_layers"], count=128, per_token=8, intermediate_size=768),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        sliding_window=window,
        sliding_layers=() if window is None else tuple(range(shape["num_layers"])),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        **write_experts(config),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
    }


FAMILY = Family(
    model_type="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.QK_NORMS + EXPERTS + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="qwen3moe",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.QKV
        + gguf_names.QK_NORMS
        + gguf_names.OUT
        + gguf_names.EXPERTS,
        settings=GGUF_SETTINGS,
        defaults={**GGUF_DEFAULTS, "norm_topk_prob": True},
    ),
)
