"""Surprisals, held to a softmax written out."""

from __future__ import annotations

import numpy as np

from nextword.decoding.surprisals import surprisals


def test_surprisals_equal_a_softmax_written_out_in_float64() -> None:
    logits = np.random.default_rng(0).normal(0.0, 20.0, (5, 11)).astype(np.float32)
    exact = np.exp(logits.astype(np.float64))
    expected = -np.log(exact[np.arange(5), [0, 3, 10, 7, 7]] / exact.sum(axis=1))

    np.testing.assert_allclose(surprisals(logits, [0, 3, 10, 7, 7]), expected, rtol=1e-5, atol=1e-5)
