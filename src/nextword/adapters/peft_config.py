"""adapter_config.json: every field that the peft library writes is computed, has no effect here, or is refused by name.

In: the fields of the file. Out: `PeftSettings`, with rank and scale of each layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from nextword.adapters.kinds import KINDS
from nextword.models.families.fields import ConfigFields

Number = TypeVar("Number", int, float)

_WITHOUT_EFFECT = """
peft_type peft_version base_model_name_or_path revision auto_mapping inference_mode runtime_config
target_modules exclude_modules layers_to_transform layers_pattern fan_in_fan_out feedforward_modules
lora_dropout rank_dropout rank_dropout_scale module_dropout vera_dropout init_weights init_ia3_weights d_initial
loftq_config eva_config corda_config lora_ga_config megatron_core use_qalora qalora_group_size
decompose_both decompose_factor projection_prng_key save_projection
target_r init_r tinit tfinal deltaT beta1 beta2 orth_reg_weight total_step
"""
"""Fields about training, and those that the names and shapes of the tensors repeat."""
_COMPUTED = """
task_type r lora_alpha alpha use_rslora use_dora rank_pattern alpha_pattern bias lora_bias modules_to_save
trainable_token_indices token_indices ensure_weight_tying init_lora_weights
"""
_KNOWN = frozenset((_WITHOUT_EFFECT + _COMPUTED).split())
_PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal", "mica")
"""Values of init_lora_weights that leave the base model's weights as they are."""
_MOST_REPEATS = 3
"""Repeats in a pattern: more of them could take very long to match."""


@dataclass(frozen=True, kw_only=True)
class PeftSettings:
    """Settings of an adapter as peft saved them."""

    kind: str
    """`peft_type`: a key of `kinds.KINDS`, "LN_TUNING" or "TRAINABLE_TOKENS"."""
    rank: int = 0
    alpha: float = 0.0
    is_rank_stabilized: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Rank by pattern of a module's name."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Alpha by pattern of a module's name."""
    saved_modules: tuple[str, ...] = ()
    """Last part of the names of modules that the adapter holds whole."""
    token_indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Trained rows, by the last part of the name of an embedding; "" is the embedding itself."""
    extras: frozenset[str] = frozenset()
    """Tensors that each layer has besides those of its kind."""
    ties_weights: bool = False
    """True if what changes the embedding changes an output head that is tied to it."""

    def rank_of(self, module: str) -> int:
        """Return the rank in a published module."""
        return _by_pattern(self.ranks, module, self.rank)

    def scaling_of(self, module: str) -> float:
        """Return the factor on the update of a published module."""
        rank = self.rank_of(module)
        if rank == 0:
            return 1.0  # of a kind without ranks
        return _by_pattern(self.alphas, module, self.alpha) / (math.sqrt(rank) if self.is_rank_stabilized else rank)


def read_settings(fields: ConfigFields) -> PeftSettings:
    """Read the settings. Raises CheckpointError naming file, field and value for what is not computed here."""
    kind = fields.choice("peft_type", {name: name for name in (*KINDS, "LN_TUNING", "TRAINABLE_TOKENS")})
    fields.require("task_type", "CAUSAL_LM")
    if kind == "VERA":
        fields.require("save_projection", True)
    for name, value in fields.content.items():
        if name not in _KNOWN and value not in (None, False, [], {}):
            fields.refuse(name, "null; nothing else is implemented")
    common = {
        "kind": kind,
        "saved_modules": _names(fields, "modules_to_save"),
        "token_indices": _token_indices(fields),
        "ties_weights": fields.flag("ensure_weight_tying", False),
    }
    if kind in ("IA3", "LN_TUNING", "TRAINABLE_TOKENS"):
        return PeftSettings(**common)  # type: ignore[arg-type]
    fields.require("init_lora_weights", *_PLAIN_STARTS)
    fields.choice("bias", dict.fromkeys(("none", "all", "lora_only", "vera_only")), "none")
    extras = {"use_dora": "lora_magnitude_vector", "lora_bias": "lora_B.bias"}
    # AdaLoRA's pattern says which ranks were pruned; the tensors say it too.
    ranks = {} if kind == "ADALORA" else _pattern(fields, "rank_pattern")
    rank = fields.integer("init_r", 12) if kind == "ADALORA" else fields.integer("r", 256 if kind == "VERA" else 8)
    if rank < 1:
        fields.refuse("init_r" if kind == "ADALORA" else "r", "at least 1")
    if any(value < 1 or value != int(value) for value in ranks.values()):
        fields.refuse("rank_pattern", "whole numbers of at least 1")
    return PeftSettings(
        **common,  # type: ignore[arg-type]
        rank=rank,
        alpha=float(rank)
        if kind == "VERA"
        else fields.number("alpha" if kind in ("LOHA", "LOKR") else "lora_alpha", 8.0),
        is_rank_stabilized=fields.flag("use_rslora", False),
        ranks={name: int(value) for name, value in ranks.items()},
        alphas=_pattern(fields, "alpha_pattern"),
        extras=frozenset(tensor for name, tensor in extras.items() if fields.flag(name, False)),
    )


def _names(fields: ConfigFields, name: str) -> tuple[str, ...]:
    values = fields.array(name) if fields.has(name) else ()
    if not all(isinstance(value, str) for value in values):
        fields.refuse(name, "a list of names")
    return tuple(str(value) for value in values)


def _token_indices(fields: ConfigFields) -> dict[str, tuple[int, ...]]:
    name = "trainable_token_indices" if fields.has("trainable_token_indices") else "token_indices"
    value = fields.content.get(name) or {}
    lists = value if isinstance(value, Mapping) else {"": value}
    found = {}
    for module, indices in lists.items():
        if not isinstance(indices, list) or not all(type(index) is int and index >= 0 for index in indices):
            fields.refuse(name, "lists of token ids")
        found[str(module)] = tuple(indices)
    return found


def _pattern(fields: ConfigFields, name: str) -> dict[str, float]:
    """Read numbers by pattern: a regular expression for the end of a module's name, from a dot on."""
    if not fields.has(name):
        return {}
    section = fields.section(name)
    for key in section.content:
        repeats = len(re.findall(r"(?<!\\)[*+{?]", key))
        if repeats > _MOST_REPEATS or re.search(r"\)[*+{]", key):
            fields.refuse(name, f"patterns without repeated groups and with at most {_MOST_REPEATS} repeats")
        try:
            re.compile(key)
        except (re.error, RecursionError, OverflowError):
            fields.refuse(name, "names or regular expressions")
    return {key: section.number(key) for key in section.content}


def _by_pattern(values: Mapping[str, Number], module: str, default: Number) -> Number:
    return next((value for key, value in values.items() if re.match(rf"(.*\.)?({key})$", module)), default)
