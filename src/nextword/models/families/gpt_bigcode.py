"""GPT-BigCode (StarCoder 1, SantaCoder): GPT-2 whose query heads share one key-value head."""

from __future__ import annotations

import dataclasses

import numpy as np

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, gpt2, shared
from nextword.models.families.family import Family, GGUFMapping, Rows, WeightRule
from nextword.models.families.fields import ConfigFields


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    config = gpt2.config_from_hf(fields)
    is_shared = fields.flag("multi_query", True)
    return dataclasses.replace(
        config,
        family="gpt_bigcode",
        num_kv_heads=1 if is_shared else config.num_heads,
        activation=fields.choice("activation_function", shared.ACTIVATIONS, "gelu_pytorch_tanh"),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **gpt2.config_to_hf(config),
        "activation_function": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "multi_query": config.num_kv_heads == 1,
    }


def _qkv_rows(config: ModelConfig) -> tuple[Rows, ...]:
    """Return the rows of queries, keys and values: one after the other, or head by head if each has its own keys."""
    if config.num_kv_heads == 1:
        return shared.qkv_rows(config)
    rows = np.arange(3 * config.num_heads * config.head_dim).reshape(config.num_heads, 3, config.head_dim)
    return tuple(rows[:, part].ravel() for part in range(3))


FAMILY = Family(
    model_type="gpt_bigcode",
    architecture="GPTBigCodeForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="transformer.",
    weights=(
        *gpt2.NAMES,
        WeightRule(
            "transformer.h.{i}.attn.c_attn",
            ("layers.{i}.attention.q_proj", "layers.{i}.attention.k_proj", "layers.{i}.attention.v_proj"),
            rows=_qkv_rows,
        ),
        *shared.same(
            ("transformer.h.{i}.attn.c_proj", "layers.{i}.attention.o_proj"),
            ("transformer.h.{i}.mlp.c_fc", "layers.{i}.mlp.up_proj"),
            ("transformer.h.{i}.mlp.c_proj", "layers.{i}.mlp.down_proj"),
        ),
    ),
    # Causal masks that early releases stored beside the weights.
    ignored_weights=("*.attn.bias", "*.attn.masked_bias"),
    gguf=GGUFMapping(
        architecture="starcoder",
        weights=gguf_names.ENDS
        + gguf_names.POSITIONS
        + gguf_names.PRE_NORMS
        + gguf_names.FUSED_QKV
        + gguf_names.OUT
        + gguf_names.UNGATED_MLP,
    ),
)
