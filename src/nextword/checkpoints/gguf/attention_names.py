"""`attention_rules`: the weight rules of a family, with queries, keys and values named as in one GGUF file.

llama.cpp reads two forms for most architectures: `attn_qkv`, which holds their rows one after the other, and `attn_q`,
`attn_k`, `attn_v`. Its converter wrote some models (GLM-4) in one form in older days and in the other now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from nextword.models.config import ModelConfig
from nextword.models.families.family import Rows, WeightRule
from nextword.models.families.gguf_names import FUSED_QKV, QKV
from nextword.models.families.shared import qkv_rows

_NAMES = tuple(rule.theirs for rule in QKV)
_FUSED_NAME = FUSED_QKV[0].theirs


def attention_rules(rules: tuple[WeightRule, ...], tensors: Collection[str]) -> tuple[WeightRule, ...]:
    """Return the rules for the form that the first layer of the file has."""
    parts = [rule for rule in rules if rule.theirs in _NAMES]
    if parts and _is_in(_FUSED_NAME, tensors):
        return (*(rule for rule in rules if rule not in parts), _fused(parts))
    if not parts and all(_is_in(name, tensors) for name in _NAMES):
        return (*(rule for rule in rules if rule.theirs != _FUSED_NAME), *QKV)
    return rules


def _is_in(name: str, tensors: Collection[str]) -> bool:
    return f"{name.replace('{i}', '0')}.weight" in tensors


def _fused(parts: Sequence[WeightRule]) -> WeightRule:
    """Return the rule of one matrix that holds those of three rules one below the other."""

    def rows(config: ModelConfig) -> tuple[Rows, ...]:
        wholes = qkv_rows(config)
        return tuple(_rows(part, whole, config) for part, whole in zip(parts, wholes, strict=True))

    return WeightRule(_FUSED_NAME, tuple(part.ours[0] for part in parts), rows=rows)


def _rows(part: WeightRule, whole: Rows, config: ModelConfig) -> Rows:
    """Return the rows of one rule in the fused matrix, where its own matrix lies at `whole`."""
    if part.rows is None:
        return whole
    total = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    return np.arange(total)[whole][part.rows(config)[0]]
