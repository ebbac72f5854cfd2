"""StarCoder2: layer norms, biases everywhere, an MLP without gate, and a sliding window in every layer or none."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.families import gguf_names, shared
from nextword.models.families.family import Family, GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.families.rope_fields import read_rope, rope_of, write_rope


def config_from_hf(fields: ConfigFields) -> ModelConfig:
    """Read config.json."""
    shape = shared.read_shape(fields)
    shape["norm_eps"] = fields.number("norm_epsilon", 1e-5)
    window = shared.read_window(fields)
    has_bias = fields.flag("use_bias", True)
    return ModelConfig(
        family="starcoder2",
        **shape,
        norm="layer",
        activation=fields.choice("hidden_act", shared.ACTIVATIONS, "gelu_pytorch_tanh"),
        is_gated=False,
        rope=read_rope(fields, head_dim=shape["head_dim"], max_seq_len=shape["max_seq_len"]),
        sliding_window=window,
        sliding_layers=() if window is None else tuple(range(shape["num_layers"])),
        is_tied=fields.flag("tie_word_embeddings", True),
        qkv_bias=has_bias,
        attention_out_bias=has_bias,
        mlp_bias=has_bias,
    )


def config_to_hf(config: ModelConfig) -> dict[str, object]:
    """Write config.json."""
    fields = {
        **shared.write_shape(config),
        **write_rope(rope_of(config)),
        "norm_epsilon": config.norm_eps,
        "hidden_act": shared.PUBLISHED_ACTIVATIONS[config.activation],
        "sliding_window": config.sliding_window,
        "use_bias": config.qkv_bias,
    }
    del fields["rms_norm_eps"]
    return fields


MLP = shared.same(
    ("model.layers.{i}.mlp.c_fc", "layers.{i}.mlp.up_proj"),
    ("model.layers.{i}.mlp.c_proj", "layers.{i}.mlp.down_proj"),
)

FAMILY = Family(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    config_from_hf=config_from_hf,
    config_to_hf=config_to_hf,
    base_prefix="model.",
    weights=shared.ENDS + shared.PRE_NORMS + shared.ATTENTION + MLP,
    ignored_weights=shared.FREQUENCY_TABLES,
    gguf=GGUFMapping(
        architecture="starcoder2",
        weights=gguf_names.ENDS + gguf_names.PRE_NORMS + gguf_names.QKV + gguf_names.OUT + gguf_names.UNGATED_MLP,
        settings={"norm_epsilon": "attention.layer_norm_epsilon", "sliding_window": "attention.sliding_window"},
    ),
)
