"""Rotary positions: frequencies by hand, and the laws of the stretchings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nextword.errors import ConfigError
from nextword.models.rope import LinearScaling, Llama3Scaling, LongRopeScaling, Rope, YarnScaling


def frequencies(scaling: object, *, is_long: bool = False) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return Rope(theta=10000.0, rotary_dim=8, scaling=scaling).inverse_frequencies(is_long=is_long)  # type: ignore[arg-type]


PLAIN = [1.0, 0.1, 0.01, 0.001]


def test_frequencies_are_a_geometric_series() -> None:
    np.testing.assert_allclose(frequencies(None), PLAIN)


def test_linear_scaling_divides_all() -> None:
    np.testing.assert_allclose(frequencies(LinearScaling(factor=4.0)), np.array(PLAIN) / 4)


def test_llama3_keeps_the_fast_divides_the_slow_and_interpolates_between() -> None:
    scaling = Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=19.0, original_max_seq_len=200)
    rotations = 200 * np.array(PLAIN) / (2 * math.pi)
    kept = np.clip((rotations - 1.0) / 18.0, 0, 1)
    assert kept[0] == 1.0
    assert 0 < kept[1] < 1
    assert kept[2] == kept[3] == 0.0
    np.testing.assert_allclose(frequencies(scaling), kept * PLAIN + (1 - kept) * np.array(PLAIN) / 8)


def test_yarn_keeps_the_fastest_pair_and_divides_the_slowest() -> None:
    scaled = frequencies(YarnScaling(factor=4.0, original_max_seq_len=400))
    assert scaled[0] == pytest.approx(1.0)
    assert scaled[-1] == pytest.approx(0.001 / 4)
    assert np.all(np.diff(scaled / PLAIN) <= 0)


def test_longrope_has_other_divisors_beyond_the_original_context() -> None:
    scaling = LongRopeScaling(
        short_factors=(1.0, 1.0, 2.0, 2.0),
        long_factors=(1.0, 4.0, 8.0, 16.0),
        original_max_seq_len=32,
        attention_factor=1.2,
    )
    np.testing.assert_allclose(frequencies(scaling), np.array(PLAIN) / [1, 1, 2, 2])
    np.testing.assert_allclose(frequencies(scaling, is_long=True), np.array(PLAIN) / [1, 4, 8, 16])


@pytest.mark.parametrize(("theta", "rotary_dim"), [(1.0, 8), (math.nan, 8), (math.inf, 8), (10.0, 7), (10.0, 0)])
def test_settings_that_rotate_nothing_sensible_are_refused(theta: float, rotary_dim: int) -> None:
    with pytest.raises(ConfigError, match=r"theta|rotary_dim"):
        Rope(theta=theta, rotary_dim=rotary_dim)
