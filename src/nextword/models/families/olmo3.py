"""OLMo 3: OLMo 2 with a sliding window in three of four layers, whose angles are not scaled to longer contexts."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import olmo2, shared
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_layer_ropes


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-5)
    sizes = {"head_dim": shape["head_dim"], "max_seq_len": shape["max_seq_len"]}
    rope = read_rope(fields, **sizes, theta=500_000.0, layer_type="full_attention")
    window = shared.read_window(fields, 4096)
    sliding = tuple(layer for layer in range(shape["num_layers"]) if (layer + 1) % 4)
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="olmo3",
        **shape,
        norm_placement="post",
        qk_norm="all_heads",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=rope,
        local_rope=read_rope(
            fields, **sizes, theta_name="rope_local_base_freq", theta=rope.theta, layer_type="sliding_attention"
        ),
        sliding_window=window,
        sliding_layers=() if window is None else shared.read_sliding_layers(fields, shape["num_layers"], sliding),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    assert config.local_rope is not None, "olmo3 has rotary positions of its own in sliding layers"
    return {
        **shared.write_shape(config),
        **write_layer_ropes(rope_of(config), config.local_rope),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "sliding_window": config.sliding_window,
        "layer_types": shared.write_layer_types(config),
        "attention_bias": config.qkv_bias,
    }


FAMILY = dataclasses.replace(
    olmo2.FAMILY,
    model_type="olmo3",
    architecture="Olmo3ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    gguf=dataclasses.replace(
        olmo2.GGUF,
        marker="attention.sliding_window",
        settings={
            "sliding_window": "attention.sliding_window",
            "layer_types": "attention.sliding_window_pattern",
            "rope_local_base_freq": "rope.freq_base_swa",
        },
    ),
)
