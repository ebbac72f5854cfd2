"""Granite 4 without Mamba layers and experts (350M, 1B, Micro): Granite with gate and up in one matrix."""

from __future__ import annotations

import dataclasses

from nextword.models.config import ModelConfig
from nextword.models.families import granite, shared
from nextword.models.families.family import WeightRule
from nextword.models.families.fields import ConfigFields


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    if fields.integer("num_local_experts", 8):
        fields.refuse("num_local_experts", "0; Granite 4 with experts is not implemented")
    kinds = fields.array("layer_types")
    if any(kind not in ("attention", "full_attention") for kind in kinds):
        fields.refuse("layer_types", '"attention" for each layer; Mamba layers are not implemented')
    config = dataclasses.replace(
        granite.config_from_hf(fields),
        family="granitemoehybrid",
        intermediate_size=shared.positive(fields, "shared_intermediate_size", 1024),
        mlp_bias=False,
    )
    if fields.choice("position_embedding_type", {"rope": True, "nope": False}, "nope"):
        return config
    return dataclasses.replace(config, layers_without_rope=tuple(range(config.num_layers)))


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    fields = granite.config_to_hf(config)
    del fields["mlp_bias"]
    return {
        **fields,
        "shared_intermediate_size": config.intermediate_size,
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "layer_types": ["attention"] * config.num_layers,
        "position_embedding_type": None if config.layers_without_rope else "rope",
        # The default, which no layer uses, would be refused for sizes that it does not divide.
        "mamba_n_heads": 1,
    }


MLP = (
    WeightRule(
        "model.layers.{i}.shared_mlp.input_linear",
        ("layers.{i}.mlp.gate_proj", "layers.{i}.mlp.up_proj"),
        rows=shared.gate_up_rows,
    ),
    *shared.same(("model.layers.{i}.shared_mlp.output_linear", "layers.{i}.mlp.down_proj")),
)

FAMILY = dataclasses.replace(
    granite.FAMILY,
    model_type="granitemoehybrid",
    architecture="GraniteMoeHybridForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + MLP,
    gguf=None,
)
