"""Rotary position embedding (RoFormer, arXiv:2104.09864) and its published scalings to longer contexts.

In: a `Rope`, the settings of one checkpoint. Out: the angle per position of each rotated pair, and the factor of some
scalings on cosine and sine. Numpy only, shared by all backends; nothing here rotates a tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LinearScaling:
    """Position interpolation: positions are divided by `factor` (arXiv:2306.15595)."""

    factor: float


@dataclass(frozen=True, kw_only=True)
class DynamicScaling:
    """Dynamic NTK scaling: theta grows with the length of sequences beyond the context, which none exceeds here.

    Within the context it changes nothing; it is kept so that the model can be saved with it.
    """

    factor: float


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling:
    """Scaling of Llama 3.1: slow pairs are divided by `factor`, fast ones kept, those between interpolated."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_seq_len: int


@dataclass(frozen=True, kw_only=True)
class YarnScaling:
    """YaRN (arXiv:2309.00071): interpolation by a ramp between two numbers of rotations, and a temperature."""

    factor: float
    original_max_seq_len: int
    beta_fast: float = 32.0
    """Pairs that rotate more often than this over the original context are kept."""
    beta_slow: float = 1.0
    """Pairs that rotate less often than this are divided by `factor`."""
    attention_factor: float = 1.0
    """Factor on cosine and sine."""
    truncate: bool = True
    """True if the ends of the ramp are rounded outward to whole pairs."""


@dataclass(frozen=True, kw_only=True)
class LongRopeScaling:
    """LongRoPE (arXiv:2402.13753): a divisor per pair, one set within the original context, one beyond it."""

    short_factors: tuple[float, ...]
    long_factors: tuple[float, ...]
    original_max_seq_len: int
    attention_factor: float
    """Factor on cosine and sine."""


RopeScaling = LinearScaling | DynamicScaling | Llama3Scaling | YarnScaling | LongRopeScaling


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Settings of rotary position embedding."""

    theta: float
    """Base of the geometric series of angles."""
    rotary_dim: int
    """Number of leading dimensions of each head that are rotated, as pairs (i, i + rotary_dim / 2)."""
    scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.theta) and self.theta > 1):
            raise ConfigError(f"rope theta must be a number above 1, is {self.theta}")
        if self.rotary_dim <= 0 or self.rotary_dim % 2:
            raise ConfigError(f"rotary_dim must be even and positive, is {self.rotary_dim}")
        if isinstance(self.scaling, YarnScaling) and min(self.scaling.beta_fast, self.scaling.beta_slow) <= 0:
            raise ConfigError(f"rope beta_fast and beta_slow must be positive, are {self.scaling}")
        if isinstance(self.scaling, LongRopeScaling):
            for name in ("short_factors", "long_factors"):
                count = len(getattr(self.scaling, name))
                if count != self.rotary_dim // 2:
                    raise ConfigError(f"rope {name} has {count} numbers, {self.rotary_dim // 2} pairs are rotated")

    def inverse_frequencies(self, *, is_long: bool = False) -> npt.NDArray[np.float64]:
        """Compute the angle per position of each pair, in radians: (rotary_dim / 2,) float64.

        `is_long`: the sequence is longer than the original context (LongRoPE has other divisors there).
        """
        pairs = np.arange(0, self.rotary_dim, 2, dtype=np.float64)
        frequencies: npt.NDArray[np.float64] = self.theta ** (-pairs / self.rotary_dim)
        match self.scaling:
            case None | DynamicScaling():
                return frequencies
            case LinearScaling(factor=factor):
                return frequencies / factor
            case Llama3Scaling() as scaling:
                return _llama3(frequencies, scaling)
            case YarnScaling() as scaling:
                return _yarn(frequencies, scaling, theta=self.theta, rotary_dim=self.rotary_dim)
            case LongRopeScaling() as scaling:
                return frequencies / np.array(
                    scaling.long_factors if is_long else scaling.short_factors, dtype=np.float64
                )

    @property
    def attention_factor(self) -> float:
        """Factor on cosine and sine."""
        return self.scaling.attention_factor if isinstance(self.scaling, YarnScaling | LongRopeScaling) else 1.0


def _llama3(frequencies: npt.NDArray[np.float64], scaling: Llama3Scaling) -> npt.NDArray[np.float64]:
    """Keep pairs that rotate more than `high_freq_factor` times over the original context; slow down the others."""
    rotations = scaling.original_max_seq_len * frequencies / (2 * math.pi)
    kept = (rotations - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    return _between(frequencies / scaling.factor, frequencies, np.clip(kept, 0.0, 1.0))


def _between(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], share: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return (1 - share) * start + share * end


def _yarn(
    frequencies: npt.NDArray[np.float64], scaling: YarnScaling, *, theta: float, rotary_dim: int
) -> npt.NDArray[np.float64]:
    """Keep the fast pairs, divide the slow ones, and interpolate linearly between them."""

    def pair_that_rotates(times: float) -> float:
        wave = scaling.original_max_seq_len / (times * 2 * math.pi)
        return rotary_dim * math.log(wave) / (2 * math.log(theta))

    low, high = pair_that_rotates(scaling.beta_fast), pair_that_rotates(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    width = high - low if high != low else 0.001
    slowed = np.clip((np.arange(len(frequencies)) - low) / width, 0.0, 1.0)
    return _between(frequencies, frequencies / scaling.factor, slowed)
