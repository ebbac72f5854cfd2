"""Qwen 1.5 and 2 with a mixture of experts, and beside it one more MLP for all tokens, weighted by a gate."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.expert_fields import (
    EXPERTS,
    GGUF_DEFAULTS,
    GGUF_SETTINGS,
    experts_of,
    read_experts,
    write_experts,
)
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    num_layers = shape["num_layers"]
    experts = read_experts(fields, num_layers, count=60, per_token=4, intermediate_size=1408)
    window, sliding_layers = _read_sliding(fields, num_layers)
    return ModelConfig(
        family="qwen2_moe",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        experts=dataclasses.replace(
            experts,
            shared_size=shared.positive(fields, "shared_expert_intermediate_size", 5632),
            has_shared_gate=True,
        ),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        sliding_window=window,
        sliding_layers=sliding_layers,
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=fields.flag("qkv_bias", True),
    )


def _read_sliding(fields: ConfigFields, num_layers: int) -> tuple[int | None, tuple[int, ...]]:
    """Read the sliding window, if enabled, and its layers: `layer_types`, else every other below a limit."""
    if not fields.flag("use_sliding_window", False):
        return None, ()
    window = shared.read_window(fields, 4096)
    last = min(fields.integer("max_window_layers", 28), num_layers)
    layers = shared.read_sliding_layers(fields, num_layers, tuple(range(0, last, 2)))
    return (window, layers) if window is not None and layers else (None, ())


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        **write_experts(config),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "shared_expert_intermediate_size": experts_of(config).shared_size,
        "qkv_bias": config.qkv_bias,
        "use_sliding_window": bool(config.sliding_layers),
        "sliding_window": config.sliding_window,
        "layer_types": shared.write_layer_types(config),
    }


SHARED_EXPERT = shared.same(
    *(
        (f"model.layers.{{i}}.mlp.shared_expert.{name}", f"layers.{{i}}.mlp.shared_expert.{name}")
        for name in ("gate_proj", "up_proj", "down_proj")
    ),
    ("model.layers.{i}.mlp.shared_expert_gate", "layers.{i}.mlp.shared_gate"),
)

FAMILY = Family(
    model_type="qwen2_moe",
    architecture="Qwen2MoeForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + EXPERTS + SHARED_EXPERT + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="qwen2moe",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.QKV
        + gguf_names.OUT
        + gguf_names.EXPERTS
        + gguf_names.SHARED_EXPERT,
        settings={**GGUF_SETTINGS, "shared_expert_intermediate_size": "expert_shared_feed_forward_length"},
        defaults={**GGUF_DEFAULTS, "shared_expert_intermediate_size": 0},
        needs_head=True,
    ),
)
