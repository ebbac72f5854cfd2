"""Log-softmax and its normalizers, held to a softmax written out."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.decoding.log_softmax import log_normalizers, log_softmax

LOGITS = np.random.default_rng(0).normal(0.0, 20.0, (5, 11)).astype(np.float32)


def exact_log_probs(temperature: float = 1.0) -> np.ndarray:
    exact = np.exp(LOGITS.astype(np.float64) / temperature)
    return np.asarray(np.log(exact / exact.sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_log_softmax_equals_a_softmax_written_out_in_float64(temperature: float) -> None:
    found = [log_softmax(row, temperature=temperature) for row in LOGITS]
    np.testing.assert_allclose(found, exact_log_probs(temperature), rtol=1e-12, atol=1e-12)


def test_a_logit_minus_its_rows_normalizer_is_its_log_probability() -> None:
    found = LOGITS - log_normalizers(LOGITS)[:, None]
    np.testing.assert_allclose(found, exact_log_probs(), rtol=1e-5, atol=1e-5)


def test_a_forbidden_token_has_no_probability() -> None:
    assert log_softmax(np.array([0.0, -np.inf], np.float32)).tolist() == [0.0, -np.inf]
