"""Names of weights in GGUF files, and the changes that llama.cpp's converter makes to them, as weight rules.

A family takes the groups it has. Rows that the converter reordered are put back by a rule's `rows`.
"""

from __future__ import annotations

from nextword.models.families.family import WeightRule
from nextword.models.families.shared import (
    gate_up_rows,
    paired_key_rows,
    paired_query_rows,
    qkv_rows,
    same,
)

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
EXPERTS = same(
    ("blk.{i}.ffn_gate_inp", "layers.{i}.mlp.router"),
    *((f"blk.{{i}}.ffn_{name}_exps", f"layers.{{i}}.mlp.experts.{{e}}.{name}_proj") for name in ("gate", "up", "down")),
)
SHARED_EXPERT = (
    WeightRule("blk.{i}.ffn_gate_inp_shexp", ("layers.{i}.mlp.shared_gate",), is_vector=True),
    *same(
        *(
            (f"blk.{{i}}.ffn_{name}_shexp", f"layers.{{i}}.mlp.shared_expert.{name}_proj")
            for name in ("gate", "up", "down")
        )
    ),
)
PAIRED_QKV = (
    WeightRule("blk.{i}.attn_q", ("layers.{i}.attention.q_proj",), rows=paired_query_rows),
    WeightRule("blk.{i}.attn_k", ("layers.{i}.attention.k_proj",), rows=paired_key_rows),
    *same(("blk.{i}.attn_v", "layers.{i}.attention.v_proj")),
)
FUSED_QKV = (
    WeightRule(
        "blk.{i}.attn_qkv",
        ("layers.{i}.attention.q_proj", "layers.{i}.attention.k_proj", "layers.{i}.attention.v_proj"),
        rows=qkv_rows,
    ),
)
FUSED_MLP = (
    WeightRule("blk.{i}.ffn_up", ("layers.{i}.mlp.gate_proj", "layers.{i}.mlp.up_proj"), rows=gate_up_rows),
    *same(("blk.{i}.ffn_down", "layers.{i}.mlp.down_proj")),
)
