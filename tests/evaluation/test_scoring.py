"""Surprisals in blocks, held to `LanguageModel.score`."""

from __future__ import annotations

import pytest

from nextword.evaluation.scoring import score_window
from nextword.language_model import load


@pytest.mark.model
def test_a_window_scores_as_the_whole_text_does_across_blocks() -> None:
    model = load("smollm2-135m")
    text = "The river ran past the mill and on to the sea. " * 30
    token_ids = model.tokenizer.encode(text)

    nats = score_window(model.engine.backend, token_ids, num_scored=len(token_ids) - 1)

    assert len(token_ids) > 300
    assert nats.sum() == pytest.approx(-model.score(text).log_prob, rel=1e-6)
