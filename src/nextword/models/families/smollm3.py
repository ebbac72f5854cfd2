"""SmolLM3: Llama with every fourth layer without position embedding (NoPE)."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    without_rope = _layers_without_rope(fields, shape["num_layers"])
    window = shared.read_window(fields) if fields.flag("use_sliding_window", False) else None
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="smollm3",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], theta=2_000_000.0),
        layers_without_rope=without_rope,
        sliding_window=window,
        sliding_layers=() if window is None else shared.read_sliding_layers(fields, shape["num_layers"], without_rope),
        is_tied=fields.flag("tie_word_embeddings", True),
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
        "no_rope_layers": [int(layer not in config.layers_without_rope) for layer in range(config.num_layers)],
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        "layer_types": shared.write_layer_types(config),
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
    }


def _layers_without_rope(fields: ConfigFields, num_layers: int) -> tuple[int, ...]:
    """Read `no_rope_layers`, which despite its name holds 1 for each layer with rotary positions."""
    if fields.has("no_rope_layers"):
        has_rope = fields.array("no_rope_layers")
        if len(has_rope) != num_layers or not all(value in (0, 1) for value in has_rope):
            fields.refuse("no_rope_layers", f"{num_layers} of 0 and 1")
        return tuple(layer for layer, value in enumerate(has_rope) if not value)
    interval = shared.positive(fields, "no_rope_layer_interval", 4)
    return tuple(layer for layer in range(num_layers) if (layer + 1) % interval == 0)


FAMILY = Family(
    model_type="smollm3",
    architecture="SmolLM3ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="smollm3",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.MLP,
    ),
)
