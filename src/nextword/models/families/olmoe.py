"""OLMoE: a mixture of experts in every layer, and norms over all heads of queries and keys together."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.families import gguf_names, shared
from nextword.models.families.expert_fields import EXPERTS, experts_of, read_num_experts
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("clip_qkv")
    fields.require("sliding_window")
    shape = shared.read_shape(fields, eps=1e-5)
    has_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        family="olmoe",
        **shape,
        qk_norm="all_heads",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "silu"),
        experts=Experts(
            count=read_num_experts(fields, 64),
            per_token=shared.positive(fields, "num_experts_per_tok", 8),
            intermediate_size=shape["intermediate_size"],
            layers=tuple(range(shape["num_layers"])),
            is_normalized=fields.flag("norm_topk_prob", False),
        ),
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        is_tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    experts = experts_of(config)
    return {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "attention_bias": config.qkv_bias,
        "num_experts": experts.count,
        "num_experts_per_tok": experts.per_token,
        "norm_topk_prob": experts.is_normalized,
    }


FAMILY = Family(
    model_type="olmoe",
    architecture="OlmoeForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + shared.QK_NORMS + EXPERTS,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="olmoe",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.QKV
        + gguf_names.QK_NORMS
        + gguf_names.OUT
        + gguf_names.EXPERTS,
        settings={"num_experts": "expert_count", "num_experts_per_tok": "expert_used_count"},
        defaults={"num_experts": 0, "num_experts_per_tok": 0},
        needs_head=True,
    ),
)
