"""Qwen 2 and 2.5: Llama with biases on queries, keys and values, and a sliding window in some layers if wanted."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    window, sliding_layers = read_sliding(fields, shape["num_layers"])
    return ModelConfig(
        family="qwen2",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        sliding_window=window,
        sliding_layers=sliding_layers,
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=True,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        **write_sliding(config),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
    }


def read_sliding(fields: ConfigFields, num_layers: int) -> tuple[int | None, tuple[int, ...]]:
    """Read the sliding window, if enabled, and its layers: `layer_types`, else those from `max_window_layers` on."""
    window = shared.read_window(fields, 4096)
    if window is None or not fields.flag("use_sliding_window", False):
        return None, ()
    first = max(fields.integer("max_window_layers", 28), 0)
    layers = shared.read_sliding_layers(fields, num_layers, tuple(range(first, num_layers)))
    return (window, layers) if layers else (None, ())


def write_sliding(config: ModelConfig) -> dict[str, object]:
    """Write the sliding window as Qwen does, for readers that know `layer_types` and for those that do not."""
    first = min(config.sliding_layers, default=config.num_layers)
    return {
        "use_sliding_window": bool(config.sliding_layers),
        "sliding_window": config.sliding_window,
        "max_window_layers": first,
        "layer_types": shared.write_layer_types(config),
    }


FAMILY = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="qwen2",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.QKV + gguf_names.OUT + gguf_names.MLP,
    ),
)
