"""StableLM: Llama with layer norms, a quarter of each head rotated, and attention and MLP side by side if wanted."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("qk_layernorm", False)
    shape = shared.read_shape(fields)
    shape["norm_eps"] = fields.number("layer_norm_eps", 1e-5)
    is_parallel = fields.flag("use_parallel_residual", False)
    return ModelConfig(
        family="stablelm",
        **shape,
        norm="layer",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], share=0.25),
        is_parallel=is_parallel,
        is_norm_shared=is_parallel,
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=fields.flag("use_qkv_bias", False),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    rope = rope_of(config)
    fields = {
        **shared.write_shape(config),
        **write_rope(rope),
        "layer_norm_eps": config.norm_eps,
        "partial_rotary_factor": rope.rotary_dim / config.head_dim,
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "use_parallel_residual": config.is_parallel,
        "use_qkv_bias": config.qkv_bias,
    }
    for name in ("rms_norm_eps", "head_dim"):
        del fields[name]
    return fields


FAMILY = Family(
    model_type="stablelm",
    architecture="StableLmForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="stablelm",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.QKV + gguf_names.OUT + gguf_names.MLP,
        needs_head=True,
        settings={"use_parallel_residual": "use_parallel_residual"},
    ),
)
