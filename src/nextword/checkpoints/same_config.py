"""`first_difference`: the setting in which two configs compute something else, as after writing and reading one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from nextword.models.config import ModelConfig
from nextword.models.rope import LongRopeScaling, Rope


def first_difference(own: ModelConfig, other: ModelConfig) -> str | None:
    """Return the name of the first field that differs by more than rounding to float32; None if none does."""
    for field in dataclasses.fields(ModelConfig):
        if not _is_same(getattr(own, field.name), getattr(other, field.name)):
            return field.name
    return None


def _is_same(own: object, other: object) -> bool:
    if isinstance(own, Rope | None) and isinstance(other, Rope | None):
        return _is_same_rope(own, other)
    if isinstance(own, float) and isinstance(other, float):
        return math.isclose(own, other, rel_tol=1e-6)
    return own == other


def _is_same_rope(own: Rope | None, other: Rope | None) -> bool:
    """Return True if two settings give the same angles and factors at all positions, but for rounding to float32."""
    if own is None or other is None:
        return own is other
    return (
        own.rotary_dim == other.rotary_dim
        and _long_context(own) == _long_context(other)
        and math.isclose(own.attention_factor, other.attention_factor, rel_tol=1e-5)
        and all(_is_close(own, other, is_long=is_long) for is_long in (False, True))
    )


def _is_close(own: Rope, other: Rope, *, is_long: bool) -> bool:
    expected = other.inverse_frequencies(is_long=is_long)
    return np.allclose(own.inverse_frequencies(is_long=is_long), expected, rtol=1e-5, atol=0)


def _long_context(rope: Rope) -> int | None:
    """Return the length from which other divisors hold; None if there is none."""
    match rope.scaling:
        case LongRopeScaling(short_factors=short, long_factors=long) as scaling if short != long:
            return scaling.original_max_seq_len
        case _:
            return None
