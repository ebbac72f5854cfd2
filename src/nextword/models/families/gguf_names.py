"""Names of weights in GGUF files, and the changes that llama.cpp's converter makes to them, as weight rules.

A family takes the groups it has. Rows that the converter reordered are put back by a rule's `rows`.
"""

from __future__ import annotations

import numpy as np

from nextword.models.config import ModelConfig
from nextword.models.families.family import Rows, WeightRule
from nextword.models.families.shared import same

ENDS = same(("token_embd", "embedding"), ("output_norm", "final_norm"), ("output", "output_head"))
POSITIONS = same(("position_embd", "position_embedding"))
PRE_NORMS = same(
    ("blk.{i}.attn_norm", "layers.{i}.attention_norm"),
    ("blk.{i}.ffn_norm", "layers.{i}.mlp_norm"),
)
POST_NORMS = same(
    ("blk.{i}.post_attention_norm", "layers.{i}.post_attention_norm"),
    ("blk.{i}.post_ffw_norm", "layers.{i}.post_mlp_norm"),
)
OUT = same(("blk.{i}.attn_output", "layers.{i}.attention.o_proj"))
QKV = same(*((f"blk.{{i}}.attn_{name}", f"layers.{{i}}.attention.{name}_proj") for name in "qkv"))
QK_NORMS = same(*((f"blk.{{i}}.attn_{name}_norm", f"layers.{{i}}.attention.{name}_norm") for name in "qk"))
MLP = same(*((f"blk.{{i}}.ffn_{name}", f"layers.{{i}}.mlp.{name}_proj") for name in ("gate", "up", "down")))
UNGATED_MLP = same(*((f"blk.{{i}}.ffn_{name}", f"layers.{{i}}.mlp.{name}_proj") for name in ("up", "down")))


def _from_pairs(num_heads: int, head_dim: int) -> Rows:
    """Return the rows that undo llama.cpp's order for Llama, pairs side by side, into first and second halves."""
    rows = np.arange(num_heads * head_dim, dtype=np.intp).reshape(num_heads, head_dim // 2, 2)
    return rows.swapaxes(1, 2).ravel()


def _query_rows(config: ModelConfig) -> tuple[Rows, ...]:
    return (_from_pairs(config.num_heads, config.head_dim),)


def _key_rows(config: ModelConfig) -> tuple[Rows, ...]:
    return (_from_pairs(config.num_kv_heads, config.head_dim),)


PAIRED_QKV = (
    WeightRule("blk.{i}.attn_q", ("layers.{i}.attention.q_proj",), rows=_query_rows),
    WeightRule("blk.{i}.attn_k", ("layers.{i}.attention.k_proj",), rows=_key_rows),
    *same(("blk.{i}.attn_v", "layers.{i}.attention.v_proj")),
)


def _qkv_rows(config: ModelConfig) -> tuple[Rows, ...]:
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return slice(0, queries), slice(queries, queries + keys), slice(queries + keys, queries + 2 * keys)


FUSED_QKV = (
    WeightRule(
        "blk.{i}.attn_qkv",
        ("layers.{i}.attention.q_proj", "layers.{i}.attention.k_proj", "layers.{i}.attention.v_proj"),
        rows=_qkv_rows,
    ),
)


def _gate_up_rows(config: ModelConfig) -> tuple[Rows, ...]:
    wide = config.intermediate_size
    return slice(0, wide), slice(wide, 2 * wide)


FUSED_MLP = (
    WeightRule("blk.{i}.ffn_up", ("layers.{i}.mlp.gate_proj", "layers.{i}.mlp.up_proj"), rows=_gate_up_rows),
    *same(("blk.{i}.ffn_down", "layers.{i}.mlp.down_proj")),
)
