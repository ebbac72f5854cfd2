"""Qwen 3 (dense): Qwen 2 without biases, with an RMS norm over each head of queries and keys."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.qwen2 import read_sliding, write_sliding
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, head_dim=128)
    window, sliding_layers = read_sliding(fields, shape["num_layers"])
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="qwen3",
        **shape,
        qk_norm="per_head",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        sliding_window=window,
        sliding_layers=sliding_layers,
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        **write_sliding(config),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
    }


FAMILY = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.QK_NORMS + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="qwen3",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.QKV
        + gguf_names.QK_NORMS
        + gguf_names.OUT
        + gguf_names.MLP,
    ),
)
