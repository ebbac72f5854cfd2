"""GLM-4-0414: GLM with norms after attention and MLP, too."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.glm import MLP, config_to_hf, read_glm


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    return ModelConfig(family="glm4", **read_glm(fields), norm_placement="both")


POST_NORMS = shared.same(
    ("model.layers.{i}.post_self_attn_layernorm", "layers.{i}.post_attention_norm"),
    ("model.layers.{i}.post_mlp_layernorm", "layers.{i}.post_mlp_norm"),
)

FAMILY = Family(
    model_type="glm4",
    architecture="Glm4ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + POST_NORMS + shared.PAIRED_ATTENTION + MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="glm4",
        weights=gguf_names.ENDS
        + gguf_names.PRE_NORMS
        + gguf_names.POST_NORMS
        + gguf_names.PAIRED_QKV
        + gguf_names.OUT
        + gguf_names.FUSED_MLP,
    ),
)
