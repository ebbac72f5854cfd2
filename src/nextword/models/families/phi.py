"""Phi-1, Phi-1.5 and Phi-2: attention and MLP side by side behind one layer norm, part of each head rotated."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, gpt2, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    for name in ("qk_layernorm", "tie_word_embeddings"):
        fields.require(name, False)
    shape = shared.read_shape(fields)
    shape["norm_eps"] = fields.number("layer_norm_eps", 1e-5)
    return ModelConfig(
        family="phi",
        **shape,
        norm="layer",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "gelu_new"),
        is_gated=False,
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], share=0.5),
        is_parallel=True,
        is_norm_shared=True,
        qkv_bias=True,
        attention_out_bias=True,
        mlp_bias=True,
        head_bias=True,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    rope = rope_of(config)
    fields = {
        **shared.write_shape(config),
        **write_rope(rope),
        "layer_norm_eps": config.norm_eps,
        "partial_rotary_factor": rope.rotary_dim / config.head_dim,
        "hidden_act": gpt2.PUBLISHED_ACTIVATIONS[config.activation],
    }
    del fields["rms_norm_eps"]
    return fields


WEIGHTS = shared.same(
    ("model.embed_tokens", "embedding"),
    ("model.layers.{i}.input_layernorm", "layers.{i}.attention_norm"),
    *(
        (f"model.layers.{{i}}.self_attn.{name}", f"layers.{{i}}.attention.{name}")
        for name in ("q_proj", "k_proj", "v_proj")
    ),
    ("model.layers.{i}.self_attn.dense", "layers.{i}.attention.o_proj"),
    ("model.layers.{i}.mlp.fc1", "layers.{i}.mlp.up_proj"),
    ("model.layers.{i}.mlp.fc2", "layers.{i}.mlp.down_proj"),
    ("model.final_layernorm", "final_norm"),
    ("lm_head", "output_head"),
)

FAMILY = Family(
    model_type="phi",
    architecture="PhiForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=WEIGHTS,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="phi2",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.QKV + gguf_names.OUT + gguf_names.UNGATED_MLP,
    ),
)
