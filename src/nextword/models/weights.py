"""`weight_shapes`: names and shapes of a transformer's weights, from its config; and checks of tensors against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.experts import Experts

Shape = tuple[int, ...]


def weight_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Return the shape of every weight by name, in order of computation; matrices are (out_features, in_features)."""
    hidden = config.hidden_size
    shapes: dict[str, Shape] = {"embedding.weight": (config.vocab_size, hidden)}
    if config.rope is None:
        shapes["position_embedding.weight"] = (config.max_seq_len + config.position_offset, hidden)
    for layer in range(config.num_layers):
        shapes.update((f"layers.{layer}.{name}", shape) for name, shape in _layer_shapes(config, layer))
    shapes.update(_norm("final_norm", config))
    if not config.is_tied:
        shapes.update(_linear("output_head", config.vocab_size, hidden, has_bias=config.head_bias))
    return shapes


def require_shape(name: str, seen: Shape, expected: Shape, *, source: str) -> None:
    """Raise CheckpointError if a tensor of a file does not have the shape that the config implies."""
    if seen != expected:
        raise CheckpointError(
            f"{source}: tensor {name} has shape {list(seen)}, the config asks for {list(expected)}; "
            "weights and config do not match"
        )


def require_names(found: Mapping[str, object], expected: Mapping[str, object], *, source: str) -> None:
    """Raise CheckpointError naming tensors of `expected` that are missing in `found`, or unexpected ones."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    for kind, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(f"{source}: {kind} tensor {', '.join(names[:3])}{more}; the config does not match")


def _layer_shapes(config: ModelConfig, layer: int) -> Iterator[tuple[str, Shape]]:
    has_pre, has_post = config.norm_placement != "post", config.norm_placement != "pre"
    if has_pre:
        yield from _norm("attention_norm", config)
    yield from _attention_shapes(config)
    if has_post:
        yield from _norm("post_attention_norm", config)
    if has_pre and not config.is_norm_shared:
        yield from _norm("mlp_norm", config)
    experts = config.layer_experts(layer)
    if experts is None:
        yield from _mlp("mlp", config, config.intermediate_size)
    else:
        yield from _expert_shapes(config, experts)
    if has_post:
        yield from _norm("post_mlp_norm", config)


def _mlp(name: str, config: ModelConfig, wide: int) -> Iterator[tuple[str, Shape]]:
    for projection in ("gate_proj", "up_proj") if config.is_gated else ("up_proj",):
        yield from _linear(f"{name}.{projection}", wide, config.hidden_size, has_bias=config.mlp_bias)
    yield from _linear(f"{name}.down_proj", config.hidden_size, wide, has_bias=config.mlp_bias)


def _expert_shapes(config: ModelConfig, experts: Experts) -> Iterator[tuple[str, Shape]]:
    yield from _linear("mlp.router", experts.count, config.hidden_size, has_bias=False)
    for expert in range(experts.count):
        yield from _mlp(f"mlp.experts.{expert}", config, experts.intermediate_size)
    if experts.shared_size is not None:
        yield from _mlp("mlp.shared_expert", config, experts.shared_size)
    if experts.has_shared_gate:
        yield from _linear("mlp.shared_gate", 1, config.hidden_size, has_bias=False)


def _attention_shapes(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    hidden = config.hidden_size
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
        yield from _linear(f"attention.{name}", rows, hidden, has_bias=config.qkv_bias)
    if config.qk_norm is not None:
        per_head = config.qk_norm == "per_head"
        yield "attention.q_norm.weight", (config.head_dim if per_head else queries,)
        yield "attention.k_norm.weight", (config.head_dim if per_head else keys,)
    yield from _linear("attention.o_proj", hidden, queries, has_bias=config.attention_out_bias)


def _linear(name: str, rows: int, columns: int, *, has_bias: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (rows, columns)
    if has_bias:
        yield f"{name}.bias", (rows,)


def _norm(name: str, config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    if config.norm_weight:
        yield f"{name}.weight", (config.hidden_size,)
    if config.norm == "layer" and config.norm_bias:
        yield f"{name}.bias", (config.hidden_size,)
