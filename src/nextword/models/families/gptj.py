"""GPT-J: attention and MLP side by side behind one layer norm, part of each head rotated in neighbouring pairs."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gpt2, shared
from nextword.models.families.family import Family, WeightRule
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import rope_of
from nextword.models.rope import Rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    fields.require("tie_word_embeddings", False)
    shape = gpt2.read_shape(fields)
    return ModelConfig(
        family="gptj",
        **shape,
        rope=Rope(theta=10_000.0, rotary_dim=shared.positive(fields, "rotary_dim", 64)),
        attention_scale=shape["head_dim"] ** -0.5,
        is_parallel=True,
        is_norm_shared=True,
        mlp_bias=True,
        head_bias=True,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {**gpt2.write_shape(config), "rotary_dim": rope_of(config).rotary_dim}


_LAYER = "transformer.h.{i}"

FAMILY = Family(
    model_type="gptj",
    architecture="GPTJForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="transformer.",
    weights=(
        *shared.same(
            ("transformer.wte", "embedding"),
            (f"{_LAYER}.ln_1", "layers.{i}.attention_norm"),
            (f"{_LAYER}.attn.v_proj", "layers.{i}.attention.v_proj"),
            (f"{_LAYER}.attn.out_proj", "layers.{i}.attention.o_proj"),
            (f"{_LAYER}.mlp.fc_in", "layers.{i}.mlp.up_proj"),
            (f"{_LAYER}.mlp.fc_out", "layers.{i}.mlp.down_proj"),
            ("transformer.ln_f", "final_norm"),
            ("lm_head", "output_head"),
        ),
        WeightRule(f"{_LAYER}.attn.q_proj", ("layers.{i}.attention.q_proj",), rows=shared.paired_query_rows),
        WeightRule(f"{_LAYER}.attn.k_proj", ("layers.{i}.attention.k_proj",), rows=shared.paired_key_rows),
    ),
    # Causal masks and positions that early releases stored beside the weights.
    ignored_weights=("*.attn.bias", "*.attn.masked_bias", "*.attn.embed_positions"),
)
