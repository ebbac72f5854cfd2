"""ERNIE 4.5 (dense): Llama whose rotated pairs lie side by side."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-5, head_dim=128)
    has_bias = fields.flag("use_bias", False)
    return ModelConfig(
        family="ernie4_5",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], theta=500_000.0),
        is_tied=fields.flag("tie_word_embeddings", True),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
        mlp_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "use_bias": config.qkv_bias,
    }


FAMILY = Family(
    model_type="ernie4_5",
    architecture="Ernie4_5ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.PAIRED_ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="ernie4_5",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.MLP,
    ),
)
