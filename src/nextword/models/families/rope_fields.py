"""Rotary settings of config.json, in both forms: the older `rope_theta` with `rope_scaling`, and `rope_parameters`.

Reads either. Writes the older fields, which every version of transformers and the other runtimes understand.
"""

from __future__ import annotations

import math
import warnings

from nextword.models.config import ModelConfig
from nextword.models.families.fields import ConfigFields
from nextword.models.families.shared import positive
from nextword.models.rope import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    Rope,
    RopeScaling,
    YarnScaling,
)

_KINDS = {
    "default": "default",
    "dynamic": "dynamic",
    "linear": "linear",
    "llama3": "llama3",
    "yarn": "yarn",
    "longrope": "longrope",
    "su": "longrope",
}


def read_rope(
    fields: ConfigFields,
    *,
    head_dim: int,
    max_seq_len: int,
    theta: float = 10_000.0,
    theta_name: str = "rope_theta",
    share: float | None = None,
    share_name: str = "partial_rotary_factor",
    original: int | None = None,
    layer_type: str | None = None,
) -> Rope:
    """Read the rotary position embedding of a checkpoint, or of one of its layer types if those differ.

    `theta`, `share` (the part of each head that is rotated; None: the family always rotates all) and `original` (the
    context length before stretching; None: `max_seq_len`) hold where the file says nothing. Raises CheckpointError.
    """
    settings = _settings(fields, layer_type)
    theta = settings.number("rope_theta", fields.number(theta_name, theta))
    rotary_dim = head_dim if share is None else int(head_dim * _share(fields, settings, share_name, share))
    if share is None:
        fields.require("partial_rotary_factor", 1.0)
        settings.require("partial_rotary_factor", 1.0)
    kind_name = "rope_type" if settings.has("rope_type") else "type"
    kind = settings.choice(kind_name, _KINDS, "default")
    original = _original_max_seq_len(fields, settings, original or max_seq_len)
    return Rope(theta=theta, rotary_dim=rotary_dim, scaling=_scaling(kind, settings, max_seq_len, original))


def write_rope(rope: Rope) -> dict[str, object]:
    """Write `rope_theta` and `rope_scaling` for config.json."""
    return {"rope_theta": rope.theta, "rope_scaling": None if rope.scaling is None else write_scaling(rope.scaling)}


def write_layer_ropes(full: Rope, sliding: Rope) -> dict[str, object]:
    """Write `rope_parameters` of full attention and of sliding layers, which the older fields cannot tell apart."""
    kinds = {"full_attention": full, "sliding_attention": sliding}
    return {"rope_parameters": {kind: _write_parameters(rope) for kind, rope in kinds.items()}}


def _write_parameters(rope: Rope) -> dict[str, object]:
    scaling = {"rope_type": "default"} if rope.scaling is None else write_scaling(rope.scaling)
    return {"rope_theta": rope.theta, **scaling}


def write_scaling(scaling: RopeScaling) -> dict[str, object]:
    """Write the content of `rope_scaling`."""
    match scaling:
        case LinearScaling():
            return {"rope_type": "linear", "factor": scaling.factor}
        case DynamicScaling():
            return {"rope_type": "dynamic", "factor": scaling.factor}
        case Llama3Scaling():
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_seq_len,
            }
        case YarnScaling():
            return {
                "rope_type": "yarn",
                "factor": scaling.factor,
                "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow,
                "attention_factor": scaling.attention_factor,
                "truncate": scaling.truncate,
                "original_max_position_embeddings": scaling.original_max_seq_len,
            }
        case LongRopeScaling():
            return {
                "type": "longrope",
                "short_factor": list(scaling.short_factors),
                "long_factor": list(scaling.long_factors),
            }


def rope_of(config: ModelConfig) -> Rope:
    """Return the rope of a config whose family always has one."""
    assert config.rope is not None, f"family {config.family} has rotary positions"
    return config.rope


def _settings(fields: ConfigFields, layer_type: str | None) -> ConfigFields:
    """Return the object with the rotary settings; an empty one if there is none.

    Where layer types differ, `rope_parameters` holds one object for each, and `rope_scaling` is about full attention.
    """
    if fields.has("rope_scaling") and layer_type in (None, "full_attention"):
        return fields.section("rope_scaling")
    if fields.has("rope_parameters"):
        settings = fields.section("rope_parameters")
        if layer_type is None:
            return settings
        if settings.has(layer_type):
            return settings.section(layer_type)
    return ConfigFields({}, fields.source, "rope_parameters.")


def _share(fields: ConfigFields, settings: ConfigFields, name: str, default: float) -> float:
    share = settings.number("partial_rotary_factor", fields.number(name, default))
    if not 0 < share <= 1:
        fields.refuse(name, "a number above 0 and at most 1")
    return share


def _original_max_seq_len(fields: ConfigFields, settings: ConfigFields, default: int) -> int:
    """Read the context length before scaling: a field of the file, or else of its rope settings."""
    name = "original_max_position_embeddings"
    return positive(fields, name, positive(settings, name, default))


def _scaling(kind: str, settings: ConfigFields, max_seq_len: int, original: int) -> RopeScaling | None:
    match kind:
        case "linear":
            return LinearScaling(factor=_factor(settings))
        case "dynamic":
            scaling = DynamicScaling(factor=_factor(settings))
            if scaling.factor != 1.0:
                warnings.warn(
                    f"{settings.source}: rope_type dynamic stretches texts beyond {max_seq_len} tokens only, "
                    "which is the context here",
                    stacklevel=6,
                )
            return scaling
        case "llama3":
            low, high = settings.number("low_freq_factor"), settings.number("high_freq_factor")
            if high <= low:
                settings.refuse("high_freq_factor", f"more than low_freq_factor = {low}")
            return Llama3Scaling(
                factor=_factor(settings), low_freq_factor=low, high_freq_factor=high, original_max_seq_len=original
            )
        case "yarn":
            return _yarn(settings, max_seq_len, original)
        case "longrope":
            return _longrope(settings, max_seq_len, original)
        case _:
            return None


def _factor(settings: ConfigFields, default: float | None = None) -> float:
    factor = settings.number("factor", default)
    if factor <= 0:
        settings.refuse("factor", "a positive number")
    return factor


def _yarn(settings: ConfigFields, max_seq_len: int, original: int) -> YarnScaling:
    factor = _factor(settings, max_seq_len / original)

    def temperature(multiplier: float) -> float:
        return 0.1 * multiplier * math.log(factor) + 1.0 if factor > 1 else 1.0

    mscale, mscale_all = settings.number("mscale", 0.0), settings.number("mscale_all_dim", 0.0)
    inferred = temperature(mscale) / temperature(mscale_all) if mscale and mscale_all else temperature(1.0)
    return YarnScaling(
        factor=factor,
        original_max_seq_len=original,
        beta_fast=settings.number("beta_fast", 32.0),
        beta_slow=settings.number("beta_slow", 1.0),
        attention_factor=settings.number("attention_factor", inferred),
        truncate=settings.flag("truncate", True),
    )


def _longrope(settings: ConfigFields, max_seq_len: int, original: int) -> LongRopeScaling:
    return LongRopeScaling(
        short_factors=settings.numbers("short_factor"),
        long_factors=settings.numbers("long_factor"),
        original_max_seq_len=original,
        attention_factor=settings.number(
            "attention_factor", longrope_attention_factor(_factor(settings, max_seq_len / original), original)
        ),
    )


def longrope_attention_factor(factor: float, original: int) -> float:
    """Compute LongRoPE's factor on cosine and sine for a context grown by `factor` from `original` (section 3.3)."""
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 and original > 1 else 1.0
