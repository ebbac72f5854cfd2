"""Rotary settings of GGUF files: `read_rope_fields` gives them as config.json has them; and back.

In llama.cpp a factor without a type is linear, every type takes `attn_factor`, and YaRN's temperature follows from the
factor unless the file says otherwise. Tensors of divisors stand for Llama 3's scaling and for LongRoPE.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.errors import CheckpointError
from nextword.models.rope import (
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    Rope,
    YarnScaling,
)
from nextword.models.stored_tensor import StoredTensor

FREQUENCIES, SHORT, LONG = "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"
ROPE_FACTORS = (FREQUENCIES, SHORT, LONG)
"""Tensors that hold divisors of the rotary frequencies; they are settings, not weights."""
_LLAMA3_SETTINGS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Settings of all published models with Llama 3's scaling; GGUF stores only the divisors that follow from them."""
_KINDS = ("none", "linear", "yarn", "longrope")


def read_rope_fields(
    metadata: GGUFMetadata, prefix: str, tensors: Mapping[str, StoredTensor], *, head_dim: int, max_seq_len: int
) -> dict[str, object]:
    """Return the rotary fields of config.json. Raises CheckpointError naming file and key or tensor."""
    key = f"{prefix}rope.dimension_count"
    rotary_dim = metadata.integer(key, head_dim)
    if not 0 < rotary_dim <= head_dim or rotary_dim % 2:
        metadata.refuse(key, f"an even number, at most {head_dim}, the length of a head")
    rope = Rope(theta=_theta(metadata, prefix), rotary_dim=rotary_dim)
    # Families multiply the share with head_dim and round down: the next number up keeps rounding out of it.
    share = 1.0 if rotary_dim == head_dim else math.nextafter(rotary_dim / head_dim, 1.0)
    return {
        **dict.fromkeys(("rope_theta", "rotary_emb_base"), rope.theta),
        **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), share),
        "rope_scaling": _Scaling(metadata, f"{prefix}rope.", tensors, rope, max_seq_len).read(),
    }


def _theta(metadata: GGUFMetadata, prefix: str) -> float:
    key = f"{prefix}rope.freq_base"
    theta = metadata.number(key, 10_000.0)
    if theta <= 1:
        metadata.refuse(key, "a number above 1")
    return theta


class _Scaling:
    """Reader of `rope_scaling`, for one file."""

    def __init__(
        self, metadata: GGUFMetadata, prefix: str, tensors: Mapping[str, StoredTensor], rope: Rope, max_seq_len: int
    ) -> None:
        self._metadata, self._prefix, self._tensors = metadata, prefix, tensors
        self._rope, self._max_seq_len = rope, max_seq_len

    def read(self) -> dict[str, object] | None:
        """Return the object as config.json has it; None: no scaling."""
        kind = self._metadata.text(self._prefix + "scaling.type", "linear")
        if kind not in _KINDS:
            self._metadata.refuse(self._prefix + "scaling.type", f"one of {', '.join(_KINDS)}")
        factor = self._factor() if kind != "none" else 1.0
        if SHORT in self._tensors or LONG in self._tensors:
            self._require_alone(factor, "tensors of LongRoPE")
            return self._divided(self._factors(SHORT), self._factors(LONG))
        if FREQUENCIES in self._tensors:
            if kind == "yarn":
                self._require_alone(factor, f"a tensor {FREQUENCIES}")
            return self._frequencies(factor)
        if kind == "longrope":
            self._metadata.refuse(self._prefix + "scaling.type", f"longrope with the tensors {SHORT} and {LONG}")
        if kind == "yarn":
            return self._yarn(factor)
        if self._attention_factor() != 1:  # which config.json can say of LongRoPE and YaRN only
            equal = np.full(self._rope.rotary_dim // 2, factor)
            return self._divided(equal, equal)
        return None if factor == 1 else {"rope_type": "linear", "factor": factor}

    def _factor(self) -> float:
        """Read the factor, by its own or its older key; 0 means none."""
        key, old_key = self._prefix + "scaling.factor", self._prefix + "scale_linear"
        key = key if self._metadata.has(key) or not self._metadata.has(old_key) else old_key
        factor = self._metadata.number(key, 1.0)
        if factor < 0:
            self._metadata.refuse(key, "a positive number")
        return factor or 1.0

    def _attention_factor(self) -> float:
        key = self._prefix + "scaling.attn_factor"
        factor = self._metadata.number(key, 1.0)
        if factor <= 0:
            self._metadata.refuse(key, "a positive number")
        return factor

    def _original(self) -> int:
        """Read the context length before stretching."""
        return self._metadata.integer(self._prefix + "scaling.original_context_length", self._max_seq_len)

    def _require_alone(self, factor: float, beside: str) -> None:
        if factor != 1:
            self._metadata.refuse(self._prefix + "scaling.factor", f"no factor beside {beside}")

    def _yarn(self, factor: float) -> dict[str, object]:
        stem = self._prefix + "scaling.yarn_"
        if self._metadata.number(stem + "ext_factor", 1.0) not in (1, -1):  # -1: not set
            self._metadata.refuse(stem + "ext_factor", "1; nothing else is implemented")
        temperature = _temperature(factor) / _temperature(factor, self._metadata.number(stem + "log_multiplier", 0.0))
        return {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": self._original(),
            "beta_fast": self._metadata.number(stem + "beta_fast", 32.0),
            "beta_slow": self._metadata.number(stem + "beta_slow", 1.0),
            "attention_factor": self._metadata.number(stem + "attn_factor", temperature) * self._attention_factor(),
        }

    def _frequencies(self, factor: float) -> dict[str, object]:
        """Return Llama 3's scaling if its settings give the divisors in the file, else a scaling by those divisors."""
        divisors = self._factors(FREQUENCIES) * factor
        largest = float(divisors.max())
        settings = Llama3Scaling(factor=largest, low_freq_factor=1.0, high_freq_factor=4.0, original_max_seq_len=8192)
        scaled = dataclasses.replace(self._rope, scaling=settings)
        if self._attention_factor() == 1 and np.allclose(divisors, rope_divisors(scaled), rtol=1e-5):
            return {"rope_type": "llama3", "factor": largest, **_LLAMA3_SETTINGS}
        return self._divided(divisors, divisors)

    def _divided(self, short: npt.NDArray[np.float64], long: npt.NDArray[np.float64]) -> dict[str, object]:
        return {
            "rope_type": "longrope",
            "short_factor": short.tolist(),
            "long_factor": long.tolist(),
            "original_max_position_embeddings": self._original(),
            "attention_factor": self._attention_factor(),
        }

    def _factors(self, name: str) -> npt.NDArray[np.float64]:
        path, count = self._metadata.path, self._rope.rotary_dim // 2
        if name not in self._tensors:
            raise CheckpointError(f"{path}: tensor {name} is missing; fetch the file again")
        values = self._tensors[name].to_float32().astype(np.float64)
        if values.shape != (count,) or not (np.isfinite(values).all() and (values > 0).all()):
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(values.shape)}; expected {count} positive numbers, one for "
                "each rotated pair"
            )
        return values


def _temperature(factor: float, multiplier: float = 1.0) -> float:
    """Return YaRN's factor on cosine and sine (equation 22)."""
    return 0.1 * multiplier * math.log(factor) + 1.0 if factor > 1 else 1.0


def rope_divisors(rope: Rope, *, is_long: bool = False) -> npt.NDArray[np.float64]:
    """Return the divisors of the rotary frequencies that a scaling comes to, (rotary_dim / 2,)."""
    plain = dataclasses.replace(rope, scaling=None)
    return plain.inverse_frequencies() / rope.inverse_frequencies(is_long=is_long)


def rope_settings(rope: Rope) -> dict[str, object]:
    """Return the metadata of rotary settings, by key after the architecture: the inverse of `read_rope_fields`."""
    settings: dict[str, object] = {"rope.freq_base": rope.theta, "rope.dimension_count": rope.rotary_dim}
    match rope.scaling:
        case LinearScaling(factor=factor):
            settings |= {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
        case YarnScaling() as scaling:
            settings |= {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": scaling.factor,
                "rope.scaling.original_context_length": scaling.original_max_seq_len,
                "rope.scaling.yarn_beta_fast": scaling.beta_fast,
                "rope.scaling.yarn_beta_slow": scaling.beta_slow,
            }
            relative = scaling.attention_factor / _temperature(scaling.factor)
            if not math.isclose(relative, 1.0):
                settings["rope.scaling.attn_factor"] = relative
        case LongRopeScaling() as scaling:
            settings["rope.scaling.attn_factor"] = scaling.attention_factor
            if scaling.short_factors != scaling.long_factors:
                settings |= {
                    "rope.scaling.type": "longrope",
                    "rope.scaling.original_context_length": scaling.original_max_seq_len,
                }
    return settings


def rope_tensors(rope: Rope) -> dict[str, StoredTensor]:
    """Return the tensors of divisors, by name in the file; {} if the settings say all."""
    match rope.scaling:
        case LongRopeScaling(short_factors=short, long_factors=long) if short != long:
            divisors = {SHORT: rope_divisors(rope), LONG: rope_divisors(rope, is_long=True)}
        case Llama3Scaling() | LongRopeScaling():
            divisors = {FREQUENCIES: rope_divisors(rope)}
        case _:
            return {}
    return {
        name: StoredTensor(name, "F32", values.shape, values.astype(np.float32)) for name, values in divisors.items()
    }
