"""Mistral: Llama with a sliding window in every layer (or, in later releases, none)."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import llama, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    window = shared.read_window(fields, 4096)
    return ModelConfig(
        family="mistral",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        sliding_window=window,
        sliding_layers=() if window is None else tuple(range(shape["num_layers"])),
        is_tied=fields.flag("tie_word_embeddings", False),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "sliding_window": config.sliding_window,
    }


FAMILY = Family(
    model_type="mistral",
    architecture="MistralForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="llama",
        marker="attention.sliding_window",
        weights=llama.GGUF.weights,
        settings={"sliding_window": "attention.sliding_window"},
    ),
)
