"""Mixtral: Mistral with a mixture of experts in every layer."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.families import gguf_names, shared
from nextword.models.families.expert_fields import experts_of
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields, eps=1e-5)
    layers = tuple(range(shape["num_layers"]))
    window = shared.read_window(fields)
    return ModelConfig(
        family="mixtral",
        **shape,
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        experts=Experts(
            count=shared.positive(fields, "num_local_experts", 8),
            per_token=shared.positive(fields, "num_experts_per_tok", 2),
            intermediate_size=shape["intermediate_size"],
            layers=layers,
            is_normalized=True,
        ),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"], theta=1_000_000.0),
        sliding_window=window,
        sliding_layers=() if window is None else layers,
        is_tied=fields.flag("tie_word_embeddings", False),
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    experts = experts_of(config)
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.per_token,
        "sliding_window": config.sliding_window,
    }


EXPERTS = shared.same(
    ("model.layers.{i}.block_sparse_moe.gate", "layers.{i}.mlp.router"),
    ("model.layers.{i}.block_sparse_moe.experts.{e}.w1", "layers.{i}.mlp.experts.{e}.gate_proj"),
    ("model.layers.{i}.block_sparse_moe.experts.{e}.w3", "layers.{i}.mlp.experts.{e}.up_proj"),
    ("model.layers.{i}.block_sparse_moe.experts.{e}.w2", "layers.{i}.mlp.experts.{e}.down_proj"),
)

FAMILY = Family(
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + EXPERTS,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="llama",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.PAIRED_QKV + gguf_names.OUT + gguf_names.EXPERTS,
        settings={"num_local_experts": "expert_count", "num_experts_per_tok": "expert_used_count"},
        defaults={"num_experts_per_tok": 0},
        marker="expert_count",
    ),
)
