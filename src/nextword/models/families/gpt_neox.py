"""GPT-NeoX and Pythia: layer norms, attention and MLP side by side, part of each head rotated, heads fused."""

from __future__ import annotations

import numpy as np

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping, Rows, WeightRule
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    has_bias = fields.flag("attention_bias", True)
    shape["norm_eps"] = fields.number("layer_norm_eps", 1e-5)
    return ModelConfig(
        family="gpt_neox",
        **shape,
        norm="layer",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "gelu"),
        is_gated=False,
        rope=read_rope(
            fields,
            head_dim=shape["head_dim"],
            max_seq_len=shape["max_seq_len"],
            theta_name="rotary_emb_base",
            share=0.25,
            share_name="rotary_pct",
        ),
        is_parallel=fields.flag("use_parallel_residual", True),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
        mlp_bias=True,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    rope = rope_of(config)
    fields = {
        **shared.write_shape(config),
        **write_rope(rope),
        "rotary_emb_base": rope.theta,
        "rotary_pct": rope.rotary_dim / config.head_dim,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "use_parallel_residual": config.is_parallel,
        "attention_bias": config.qkv_bias,
    }
    for name in ("rms_norm_eps", "num_key_value_heads", "head_dim", "rope_theta"):
        del fields[name]
    return fields


def _head_rows(config: ModelConfig) -> tuple[Rows, ...]:
    """Return the rows of queries, keys and values in the fused matrix, which holds them head by head."""
    rows = np.arange(3 * config.num_heads * config.head_dim).reshape(config.num_heads, 3, config.head_dim)
    return tuple(rows[:, part].ravel() for part in range(3))


FAMILY = Family(
    model_type="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="gpt_neox.",
    weights=(
        *shared.same(
            ("gpt_neox.embed_in", "embedding"),
            ("gpt_neox.layers.{i}.input_layernorm", "layers.{i}.attention_norm"),
            ("gpt_neox.layers.{i}.attention.dense", "layers.{i}.attention.o_proj"),
            ("gpt_neox.layers.{i}.post_attention_layernorm", "layers.{i}.mlp_norm"),
            ("gpt_neox.layers.{i}.mlp.dense_h_to_4h", "layers.{i}.mlp.up_proj"),
            ("gpt_neox.layers.{i}.mlp.dense_4h_to_h", "layers.{i}.mlp.down_proj"),
            ("gpt_neox.final_layer_norm", "final_norm"),
        ),
        WeightRule(
            "gpt_neox.layers.{i}.attention.query_key_value",
            ("layers.{i}.attention.q_proj", "layers.{i}.attention.k_proj", "layers.{i}.attention.v_proj"),
            rows=_head_rows,
        ),
        WeightRule("embed_out", ("output_head",), alias="lm_head"),
    ),
    # Causal masks and frequency tables that early releases stored beside the weights.
    ignored_weights=("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq"),
    gguf=GGUFMapping(
        architecture="gptneox",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.FUSED_QKV + gguf_names.OUT + gguf_names.UNGATED_MLP,
        settings={"use_parallel_residual": "use_parallel_residual"},
        needs_head=True,
    ),
)
