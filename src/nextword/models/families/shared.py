"""Parts that the families descended from Llama share: fields of config.json and names of weights.

A family file takes these and states its differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nextword.models.config import LARGEST_SIZE, MAX_LAYERS, Activation, ModelConfig
from nextword.models.families.family import Rows, WeightRule
from nextword.models.families.fields import ConfigFields

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}
"""Activation by its name in config.json. The three tanh approximations of GELU are the same function."""

PUBLISHED_ACTIVATIONS: dict[Activation, str] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "relu": "relu",
    "relu2": "relu2",
}

_LAYER_TYPES = {"full_attention": False, "sliding_attention": True}


def read_shape(fields: ConfigFields, *, eps: float = 1e-6, head_dim: int | None = None) -> dict[str, Any]:
    """Read the arguments of ModelConfig that all descendants of Llama share. Raises CheckpointError.

    `eps` and `head_dim` are the defaults of absent fields (head_dim None: hidden_size / num_heads).
    """
    fields.require("quantization_config")
    num_heads = positive(fields, "num_attention_heads")
    hidden_size = positive(fields, "hidden_size")
    if head_dim is None and not fields.has("head_dim") and hidden_size % num_heads:
        fields.refuse("hidden_size", f"a multiple of num_attention_heads = {num_heads}")
    head_dim = positive(fields, "head_dim", head_dim or hidden_size // num_heads)
    return {
        "vocab_size": positive(fields, "vocab_size"),
        "hidden_size": hidden_size,
        "intermediate_size": positive(fields, "intermediate_size"),
        "num_layers": positive(fields, "num_hidden_layers", most=MAX_LAYERS),
        "num_heads": num_heads,
        "num_kv_heads": positive(fields, "num_key_value_heads", num_heads),
        "head_dim": head_dim,
        "max_seq_len": positive(fields, "max_position_embeddings"),
        "norm_eps": fields.number("rms_norm_eps", eps),
        "attention_scale": head_dim**-0.5,
    }


def positive(fields: ConfigFields, name: str, default: int | None = None, *, most: int = LARGEST_SIZE) -> int:
    """Read a size; `default` if the field is absent. Raises CheckpointError if it is not from 1 to `most`."""
    value = fields.integer(name, default)
    if not 1 <= value <= most:
        fields.refuse(name, f"a number from 1 to {most}")
    return value


def write_shape(config: ModelConfig) -> dict[str, object]:
    """Write the fields of `read_shape` for config.json."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.is_tied,
    }


def read_sliding_layers(fields: ConfigFields, num_layers: int, default: tuple[int, ...]) -> tuple[int, ...]:
    """Read the layers that `layer_types` calls sliding; `default` if the field is absent. Raises CheckpointError."""
    if not fields.has("layer_types"):
        return default
    kinds = fields.array("layer_types")
    if len(kinds) != num_layers or not all(isinstance(kind, str) and kind in _LAYER_TYPES for kind in kinds):
        fields.refuse("layer_types", f"{num_layers} of {', '.join(_LAYER_TYPES)}")
    return tuple(layer for layer, kind in enumerate(kinds) if kind == "sliding_attention")


def write_layer_types(config: ModelConfig) -> list[str]:
    """Write `layer_types` for config.json."""
    return ["sliding_attention" if config.is_sliding(layer) else "full_attention" for layer in range(config.num_layers)]


def read_window(fields: ConfigFields, default: int | None = None) -> int | None:
    """Read `sliding_window`; `default` if it is absent, None if it is null. Raises CheckpointError."""
    if "sliding_window" in fields.content and not fields.has("sliding_window"):
        return None
    if default is None and not fields.has("sliding_window"):
        return None
    return positive(fields, "sliding_window", default)


def same(*pairs: tuple[str, str]) -> tuple[WeightRule, ...]:
    """Build weight rules for modules that differ in name only: (theirs, ours)."""
    return tuple(WeightRule(theirs, (ours,)) for theirs, ours in pairs)


ENDS = same(("model.embed_tokens", "embedding"), ("model.norm", "final_norm"), ("lm_head", "output_head"))
ATTENTION = same(
    *(
        (f"model.layers.{{i}}.self_attn.{name}", f"layers.{{i}}.attention.{name}")
        for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    )
)
OUT = same(("model.layers.{i}.self_attn.o_proj", "layers.{i}.attention.o_proj"))


def _halves_of_pairs(num_heads: int, config: ModelConfig) -> Rows:
    """Return the rows that put the rotated pairs of each head, stored side by side, into first and second halves."""
    assert config.rope is not None, f"family {config.family} has rotary positions"
    heads = np.arange(num_heads * config.head_dim, dtype=np.intp).reshape(num_heads, config.head_dim)
    pairs, kept = np.split(heads, [config.rope.rotary_dim], axis=1)
    return np.concatenate((pairs[:, 0::2], pairs[:, 1::2], kept), axis=1).ravel()


def paired_query_rows(config: ModelConfig) -> tuple[Rows, ...]:
    """Return the rows of a query projection whose rotated pairs lie side by side ("interleaved")."""
    return (_halves_of_pairs(config.num_heads, config),)


def paired_key_rows(config: ModelConfig) -> tuple[Rows, ...]:
    """Return the rows of a key projection whose rotated pairs lie side by side ("interleaved")."""
    return (_halves_of_pairs(config.num_kv_heads, config),)


PAIRED_ATTENTION = (
    WeightRule("model.layers.{i}.self_attn.q_proj", ("layers.{i}.attention.q_proj",), rows=paired_query_rows),
    WeightRule("model.layers.{i}.self_attn.k_proj", ("layers.{i}.attention.k_proj",), rows=paired_key_rows),
    *same(("model.layers.{i}.self_attn.v_proj", "layers.{i}.attention.v_proj")),
    *OUT,
)
"""Attention of families that rotate neighbouring dimensions (2i, 2i + 1); nextword rotates (i, i + half)."""
QK_NORMS = same(
    *((f"model.layers.{{i}}.self_attn.{name}", f"layers.{{i}}.attention.{name}") for name in ("q_norm", "k_norm"))
)


def qkv_rows(config: ModelConfig) -> tuple[Rows, ...]:
    """Return the rows of queries, keys and values in a fused projection that holds them one after the other."""
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return slice(0, queries), slice(queries, queries + keys), slice(queries + keys, queries + 2 * keys)


def gate_up_rows(config: ModelConfig) -> tuple[Rows, ...]:
    """Return the rows of gate and up in a fused projection that holds them one after the other."""
    wide = config.intermediate_size
    return slice(0, wide), slice(wide, 2 * wide)


MLP = same(
    *((f"model.layers.{{i}}.mlp.{name}", f"layers.{{i}}.mlp.{name}") for name in ("gate_proj", "up_proj", "down_proj"))
)
UNGATED_MLP = same(
    *((f"model.layers.{{i}}.mlp.{name}", f"layers.{{i}}.mlp.{name}") for name in ("up_proj", "down_proj"))
)
PRE_NORMS = same(
    ("model.layers.{i}.input_layernorm", "layers.{i}.attention_norm"),
    ("model.layers.{i}.post_attention_layernorm", "layers.{i}.mlp_norm"),
)
FREQUENCY_TABLES = ("*.rotary_emb.inv_freq",)
"""Pattern of the rotary frequencies in old checkpoints, which follow from the config."""
