"""OLMo 1: Llama with layer norms that have no parameters, and clipped queries, keys and values."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope

_EPS = 1e-5
"""It stands in the code of the family, not in its files."""


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    shape["norm_eps"] = _EPS
    clip = fields.number("clip_qkv") if fields.has("clip_qkv") else None
    if clip is not None and clip <= 0:
        fields.refuse("clip_qkv", "a positive number or null")
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="olmo",
        **shape,
        norm="layer",
        norm_weight=False,
        norm_bias=False,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        qkv_clip=clip,
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    fields = {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
        "clip_qkv": config.qkv_clip,
    }
    del fields["rms_norm_eps"]
    return fields


FAMILY = Family(
    model_type="olmo",
    architecture="OlmoForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="olmo",
        weights=gguf_names.ENDS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.MLP,
        settings={"clip_qkv": "attention.clamp_kqv"},
    ),
)
