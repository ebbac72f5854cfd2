"""Fields of config.json and names of weights that the families with a mixture of experts share."""

from __future__ import annotations

from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.families.fields import ConfigFields
from nextword.models.families.shared import positive, same


def read_num_experts(fields: ConfigFields, default: int) -> int:
    """Read the number of experts, which transformers calls `num_local_experts` for some families since version 5."""
    count = positive(fields, "num_experts", default)
    if not fields.has("num_local_experts"):
        return count
    local = positive(fields, "num_local_experts")
    if fields.has("num_experts") and local != count:
        fields.refuse("num_local_experts", f"num_experts, which is {count}")
    return local


def read_experts(
    fields: ConfigFields, num_layers: int, *, count: int, per_token: int, intermediate_size: int
) -> Experts:
    """Read the mixture of experts of Qwen; the keywords are the defaults of absent fields. Raises CheckpointError."""
    step = positive(fields, "decoder_sparse_step", 1)
    dense = fields.array("mlp_only_layers") if fields.has("mlp_only_layers") else ()
    if not all(isinstance(layer, int) and not isinstance(layer, bool) for layer in dense):
        fields.refuse("mlp_only_layers", "a list of layers")
    return Experts(
        count=read_num_experts(fields, count),
        per_token=positive(fields, "num_experts_per_tok", per_token),
        intermediate_size=positive(fields, "moe_intermediate_size", intermediate_size),
        layers=tuple(layer for layer in range(num_layers) if (layer + 1) % step == 0 and layer not in dense),
        is_normalized=fields.flag("norm_topk_prob", False),
    )


def write_experts(config: ModelConfig) -> dict[str, object]:
    """Write the fields of `read_experts` for config.json."""
    experts = experts_of(config)
    return {
        "num_experts": experts.count,
        "num_experts_per_tok": experts.per_token,
        "moe_intermediate_size": experts.intermediate_size,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [layer for layer in range(config.num_layers) if layer not in experts.layers],
        "norm_topk_prob": experts.is_normalized,
    }


def experts_of(config: ModelConfig) -> Experts:
    """Return the experts of a config of these families, which all have them."""
    assert config.experts is not None, f"{config.family} has experts"
    return config.experts


GGUF_SETTINGS = {
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}
"""Metadata keys of GGUF by the fields of config.json, where experts have a width of their own."""
GGUF_DEFAULTS = dict.fromkeys(GGUF_SETTINGS, 0)
"""Value of absent keys, which no family accepts: the defaults of config.json do not hold for GGUF files."""
EXPERTS = same(
    ("model.layers.{i}.mlp.gate", "layers.{i}.mlp.router"),
    *(
        (f"model.layers.{{i}}.mlp.experts.{{e}}.{name}", f"layers.{{i}}.mlp.experts.{{e}}.{name}")
        for name in ("gate_proj", "up_proj", "down_proj")
    ),
)
