"""Helium: Llama whose rotated pairs lie side by side."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import shared
from nextword.models.families.family import Family
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-8, head_dim=128)
    return ModelConfig(
        family="helium",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], theta=100_000.0),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=fields.flag("attention_bias", False),
        mlp_bias=fields.flag("mlp_bias", False),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
    }


FAMILY = Family(
    model_type="helium",
    architecture="HeliumForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.PAIRED_ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
)
