"""OPT: learned positions that begin with the third row, layer norms, and a ReLU."""

from __future__ import annotations

from nextword.models.config import MAX_LAYERS, ModelConfig
from nextword.models.families import shared
from nextword.models.families.family import Family
from nextword.models.families.fields import ConfigFields

_OFFSET = 2
"""Rows of the position embedding before that of the first position."""


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("quantization_config")
    fields.require("do_layer_norm_before", True)
    fields.require("_remove_final_layer_norm", False)
    hidden_size, num_heads = shared.positive(fields, "hidden_size"), shared.positive(fields, "num_attention_heads")
    fields.require("word_embed_proj_dim", hidden_size)
    if hidden_size % num_heads:
        fields.refuse("hidden_size", f"a multiple of num_attention_heads = {num_heads}")
    head_dim = hidden_size // num_heads
    has_bias = fields.flag("enable_bias", True)
    has_parameters = fields.flag("layer_norm_elementwise_affine", True)
    return ModelConfig(
        family="opt",
        vocab_size=shared.positive(fields, "vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=shared.positive(fields, "ffn_dim"),
        num_layers=shared.positive(fields, "num_hidden_layers", most=MAX_LAYERS),
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=head_dim,
        max_seq_len=shared.positive(fields, "max_position_embeddings"),
        norm="layer",
        norm_eps=1e-5,
        norm_weight=has_parameters,
        norm_bias=has_parameters,
        activation=fields.choice("activation_function", shared.ACTIVATIONS, "relu"),
        is_gated=False,
        position_offset=_OFFSET,
        attention_scale=head_dim**-0.5,
        is_tied=fields.flag("tie_word_embeddings", True),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
        mlp_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "word_embed_proj_dim": config.hidden_size,
        "ffn_dim": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "max_position_embeddings": config.max_seq_len,
        "activation_function": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "do_layer_norm_before": True,
        "enable_bias": config.qkv_bias,
        "layer_norm_elementwise_affine": config.norm_weight,
        "tie_word_embeddings": config.is_tied,
    }


_LAYER = "model.decoder.layers.{i}"

FAMILY = Family(
    model_type="opt",
    architecture="OPTForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.same(
        ("model.decoder.embed_tokens", "embedding"),
        ("model.decoder.embed_positions", "position_embedding"),
        (f"{_LAYER}.self_attn_layer_norm", "layers.{i}.attention_norm"),
        *((f"{_LAYER}.self_attn.{name}_proj", f"layers.{{i}}.attention.{name}_proj") for name in "qkv"),
        (f"{_LAYER}.self_attn.out_proj", "layers.{i}.attention.o_proj"),
        (f"{_LAYER}.final_layer_norm", "layers.{i}.mlp_norm"),
        (f"{_LAYER}.fc1", "layers.{i}.mlp.up_proj"),
        (f"{_LAYER}.fc2", "layers.{i}.mlp.down_proj"),
        ("model.decoder.final_layer_norm", "final_norm"),
        ("lm_head", "output_head"),
    ),
)
