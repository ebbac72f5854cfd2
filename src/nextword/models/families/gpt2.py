"""GPT-2: learned positions, layer norms, one fused and transposed projection for queries, keys and values."""

from __future__ import annotations

from typing import Any

from nextword.models.config import MAX_LAYERS, Activation, ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping, WeightRule
from nextword.models.families.fields import ConfigFields


def read_shape(fields: ConfigFields) -> dict[str, Any]:
    """Read the arguments of ModelConfig that GPT-2 and GPT-J share. Raises CheckpointError."""
    fields.require("quantization_config")
    hidden_size, num_heads = shared.positive(fields, "n_embd"), shared.positive(fields, "n_head")
    if hidden_size % num_heads:
        fields.refuse("n_embd", f"a multiple of n_head = {num_heads}")
    return {
        "vocab_size": shared.positive(fields, "vocab_size"),
        "hidden_size": hidden_size,
        "intermediate_size": shared.positive(fields, "n_inner", 4 * hidden_size),
        "num_layers": shared.positive(fields, "n_layer", most=MAX_LAYERS),
        "num_heads": num_heads,
        "num_kv_heads": num_heads,
        "head_dim": hidden_size // num_heads,
        "max_seq_len": shared.positive(fields, "n_positions"),
        "norm": "layer",
        "norm_eps": fields.number("layer_norm_epsilon", 1e-5),
        "activation": fields.choice("activation_function", shared.ACTIVATIONS, "gelu_new"),
        "is_gated": False,
    }


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    for name in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        fields.require(name, False)
    shape = read_shape(fields)
    return ModelConfig(
        family="gpt2",
        **shape,
        attention_scale=shape["head_dim"] ** -0.5 if fields.flag("scale_attn_weights", True) else 1.0,
        is_tied=fields.flag("tie_word_embeddings", True),
        qkv_bias=True,
        attention_out_bias=True,
        mlp_bias=True,
    )


PUBLISHED_ACTIVATIONS: dict[Activation, str] = {**shared.PUBLISHED_ACTIVATIONS, "gelu_tanh": "gelu_new"}


def write_shape(config: ModelConfig) -> dict[str, object]:
    """Write the fields of `read_shape` for config.json."""
    return {
        "vocab_size": config.vocab_size,
        "n_embd": config.hidden_size,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_positions": config.max_seq_len,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": PUBLISHED_ACTIVATIONS[config.activation],
        "tie_word_embeddings": config.is_tied,
    }


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    return {
        **write_shape(config),
        "n_ctx": config.max_seq_len,
        "scale_attn_weights": config.attention_scale != 1.0 or config.head_dim == 1,
    }


NAMES = shared.same(
    ("transformer.wte", "embedding"),
    ("transformer.wpe", "position_embedding"),
    ("transformer.h.{i}.ln_1", "layers.{i}.attention_norm"),
    ("transformer.h.{i}.ln_2", "layers.{i}.mlp_norm"),
    ("transformer.ln_f", "final_norm"),
    ("lm_head", "output_head"),
)
MATRICES = (
    WeightRule(
        "transformer.h.{i}.attn.c_attn",
        ("layers.{i}.attention.q_proj", "layers.{i}.attention.k_proj", "layers.{i}.attention.v_proj"),
        is_transposed=True,
        rows=shared.qkv_rows,
    ),
    WeightRule("transformer.h.{i}.attn.c_proj", ("layers.{i}.attention.o_proj",), is_transposed=True),
    WeightRule("transformer.h.{i}.mlp.c_fc", ("layers.{i}.mlp.up_proj",), is_transposed=True),
    WeightRule("transformer.h.{i}.mlp.c_proj", ("layers.{i}.mlp.down_proj",), is_transposed=True),
)

FAMILY = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="transformer.",
    weights=NAMES + MATRICES,
    # Causal masks that early releases stored beside the weights.
    ignored_weights=("*.attn.bias", "*.attn.masked_bias"),
    gguf=GGUFMapping(
        architecture="gpt2",
        weights=gguf_names.ENDS
        + gguf_names.POSITIONS
        + gguf_names.PRE_NORMS
        + gguf_names.FUSED_QKV
        + gguf_names.OUT
        + gguf_names.UNGATED_MLP,
    ),
)
