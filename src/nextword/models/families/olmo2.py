"""OLMo 2: norms after attention and MLP instead of before, and over all heads of queries and keys together."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-5)
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="olmo2",
        **shape,
        norm_placement="post",
        qk_norm="all_heads",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
    }


NORMS = shared.same(
    ("model.layers.{i}.post_attention_layernorm", "layers.{i}.post_attention_norm"),
    ("model.layers.{i}.post_feedforward_layernorm", "layers.{i}.post_mlp_norm"),
)

GGUF = GGUFMapping(
    architecture="olmo2",
    weights=gguf_names.ENDS
    + gguf_names.POST_NORMS
    + gguf_names.QKV
    + gguf_names.QK_NORMS
    + gguf_names.OUT
    + gguf_names.MLP,
    needs_head=True,
)

FAMILY = Family(
    model_type="olmo2",
    architecture="Olmo2ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.ATTENTION + shared.QK_NORMS + NORMS + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUF,
)
