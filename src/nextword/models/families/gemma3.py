"""Gemma 3, the text model: Gemma 2 with query and key norms for soft caps, and other angles in sliding layers."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.gemma2 import NORMS, read_cap, read_gemma, write_gemma
from nextword.models.families.rope_fields import read_rope, rope_of, write_layer_ropes, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("attn_logit_softcapping")
    shape = read_gemma(fields, pattern=shared.positive(fields, "sliding_window_pattern", 6))
    sizes = {"head_dim": shape["head_dim"], "max_seq_len": shape["max_seq_len"]}
    return ModelConfig(
        family="gemma3",
        **shape,
        qk_norm="per_head",
        rope=read_rope(fields, **sizes, theta=1_000_000.0, layer_type="full_attention"),
        local_rope=read_rope(fields, **sizes, theta_name="rope_local_base_freq", layer_type="sliding_attention"),
        logit_soft_cap=read_cap(fields, "final_logit_softcapping", None),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json, with rotary settings in the older form where it can express them."""
    local_rope = config.local_rope
    assert local_rope is not None, "gemma3 has rotary positions of its own in sliding layers"
    if local_rope.scaling is None:
        return {**write_gemma(config), **write_rope(rope_of(config)), "rope_local_base_freq": local_rope.theta}
    return {**write_gemma(config), **write_layer_ropes(rope_of(config), local_rope)}


FAMILY = Family(
    model_type="gemma3_text",
    architecture="Gemma3ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + NORMS + shared.ATTENTION + shared.QK_NORMS + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="gemma3",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.POST_NORMS
        + gguf_names.QKV
        + gguf_names.QK_NORMS
        + gguf_names.OUT
        + gguf_names.MLP,
        norm_offset=1.0,
        settings={
            "sliding_window": "attention.sliding_window",
            "layer_types": "attention.sliding_window_pattern",
            "rope_local_base_freq": "rope.freq_base_swa",
            "final_logit_softcapping": "final_logit_softcapping",
        },
        wide_scale_layers=62,
    ),
)
