"""Granite 3 with a mixture of experts in every layer, whose weights are stored as stacks."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.families import gguf_names, granite, shared
from nextword.models.families.expert_fields import experts_of
from nextword.models.families.family import GGUFMapping, Rows, WeightRule
from nextword.models.families.fields import ConfigFields


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("mlp_bias", False)
    config = granite.config_from_hf(fields)
    experts = Experts(
        count=shared.positive(fields, "num_local_experts", 8),
        per_token=shared.positive(fields, "num_experts_per_tok", 2),
        intermediate_size=config.intermediate_size,
        layers=tuple(range(config.num_layers)),
        is_normalized=True,  # by a softmax over the logits of the chosen ones, which gives the same weights
    )
    return dataclasses.replace(config, family="granitemoe", experts=experts)


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    experts = experts_of(config)
    fields = granite.config_to_hf(config)
    return {**fields, "num_local_experts": experts.count, "num_experts_per_tok": experts.per_token}


def _gate_up_rows(config: ModelConfig) -> tuple[Rows, ...]:
    wide = experts_of(config).intermediate_size
    return slice(0, wide), slice(wide, 2 * wide)


_MIXTURE = "model.layers.{i}.block_sparse_moe"
EXPERTS = (
    WeightRule(
        f"{_MIXTURE}.input_linear",
        ("layers.{i}.mlp.experts.{e}.gate_proj", "layers.{i}.mlp.experts.{e}.up_proj"),
        rows=_gate_up_rows,
    ),
    *shared.same(
        (f"{_MIXTURE}.router.layer", "layers.{i}.mlp.router"),
        (f"{_MIXTURE}.output_linear", "layers.{i}.mlp.experts.{e}.down_proj"),
    ),
)

FAMILY = dataclasses.replace(
    granite.FAMILY,
    model_type="granitemoe",
    architecture="GraniteMoeForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + EXPERTS,
    gguf=GGUFMapping(
        architecture="granitemoe",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.EXPERTS,
        settings={**granite.FACTORS, "num_local_experts": "expert_count", "num_experts_per_tok": "expert_used_count"},
        defaults={"num_local_experts": 0, "num_experts_per_tok": 0},
    ),
)
