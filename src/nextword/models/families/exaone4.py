"""EXAONE 4: norms after attention and MLP, norms over heads, and, if some layers slide, no positions in the others."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, olmo2, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-5)
    window = shared.read_window(fields, 4096)
    layers = range(shape["num_layers"])
    sliding = () if window is None else shared.read_sliding_layers(fields, len(layers), _pattern(fields, layers))
    return ModelConfig(
        family="exaone4",
        **shape,
        norm_placement="post",
        qk_norm="per_head",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        layers_without_rope=() if window is None else tuple(layer for layer in layers if layer not in sliding),
        sliding_window=window,
        sliding_layers=sliding,
        is_tied=fields.flag("tie_word_embeddings", False),
    )


def _pattern(fields: ConfigFields, layers: range) -> tuple[int, ...]:
    """Return the sliding layers by `sliding_window_pattern`: all but each n-th, or by a string of L and G.

    By a string the last layer never slides (`Exaone4Config`).
    """
    pattern = fields.content.get("sliding_window_pattern")
    if isinstance(pattern, str):
        if not pattern or set(pattern) - set("LG"):
            fields.refuse("sliding_window_pattern", "a number, or a string of L and G")
        return tuple(layer for layer in layers[:-1] if pattern[layer % len(pattern)] == "L")
    every = shared.positive(fields, "sliding_window_pattern", 4)
    return tuple(layer for layer in layers if (layer + 1) % every)


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "sliding_window": config.sliding_window,
        "layer_types": shared.write_layer_types(config),
    }


FAMILY = Family(
    model_type="exaone4",
    architecture="Exaone4ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.ATTENTION + shared.QK_NORMS + olmo2.NORMS + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="exaone4",
        weights=gguf_names.ENDS
        + gguf_names.POST_NORMS
        + gguf_names.QKV
        + gguf_names.QK_NORMS
        + gguf_names.OUT
        + gguf_names.MLP,
        defaults={"sliding_window": None},
        settings={
            "sliding_window": "attention.sliding_window",
            "layer_types": "attention.sliding_window_pattern",
        },
    ),
)
