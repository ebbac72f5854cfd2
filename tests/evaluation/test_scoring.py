"""Surprisals in blocks, held to a softmax written out and to `LanguageModel.score`."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.evaluation.scoring import score_window, surprisals
from nextword.language_model import load


def test_surprisals_equal_a_softmax_written_out_in_float64() -> None:
    logits = np.random.default_rng(0).normal(0.0, 20.0, (5, 11)).astype(np.float32)
    exact = np.exp(logits.astype(np.float64))
    expected = -np.log(exact[np.arange(5), [0, 3, 10, 7, 7]] / exact.sum(axis=1))

    np.testing.assert_allclose(surprisals(logits, [0, 3, 10, 7, 7]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.model
def test_a_window_scores_as_the_whole_text_does_across_blocks() -> None:
    model = load("smollm2-135m")
    text = "The river ran past the mill and on to the sea. " * 30
    token_ids = model.tokenizer.encode(text)

    nats = score_window(model.engine.backend, token_ids, num_scored=len(token_ids) - 1)

    assert len(token_ids) > 300
    assert nats.sum() == pytest.approx(-model.score(text).log_prob, rel=1e-6)
