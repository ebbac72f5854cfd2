"""Nemotron and Minitron: layer norms whose files hold weight - 1, half of each head rotated, a squared ReLU."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    shape["norm_eps"] = fields.number("norm_eps", 1e-5)
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="nemotron",
        **shape,
        norm="layer",
        norm_offset=1.0,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "relu2"),
        is_gated=False,
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], share=0.5),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
        mlp_bias=fields.flag("mlp_bias", False),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    rope = rope_of(config)
    fields = {
        **shared.write_shape(config),
        **write_rope(rope),
        "norm_eps": config.norm_eps,
        "partial_rotary_factor": rope.rotary_dim / config.head_dim,
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
    }
    del fields["rms_norm_eps"]
    return fields


FAMILY = Family(
    model_type="nemotron",
    architecture="NemotronForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.UNGATED_MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="nemotron",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.QKV + gguf_names.OUT + gguf_names.UNGATED_MLP,
        norm_offset=1.0,
        needs_head=True,
        settings={"norm_eps": "attention.layer_norm_epsilon"},
    ),
)
