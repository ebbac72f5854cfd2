"""Llama 1 to 3, TinyLlama, SmolLM and SmolLM2: the plain form that later families vary."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="llama",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
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


GGUF = GGUFMapping(
    architecture="llama",
    weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.MLP,
)

FAMILY = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUF,
)
