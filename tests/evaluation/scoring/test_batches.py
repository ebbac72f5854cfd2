"""Scores of windows, together and alone, held to `LanguageModel.score`."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.errors import RequestError
from nextword.evaluation.scoring.batches import score_windows
from nextword.evaluation.scoring.windows import Window
from nextword.inference.backend import Chunk, Logits
from nextword.inference.engine import Engine
from nextword.loading import load
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER


def test_windows_are_scored_by_themselves_whatever_runs_with_them() -> None:
    backend = HashBackend(vocab_size=11)
    windows = [Window(0, [3, 1, 4, 1], 3), Window(2, [4, 1, 5, 9, 2], 2)]
    alone = [next(score_windows(Engine(backend, TOKENIZER), [window])).nats for window in windows]
    together = [scores.nats for scores in score_windows(Engine(backend, TOKENIZER), windows)]
    np.testing.assert_array_equal(np.concatenate(together), np.concatenate(alone))
    assert not backend.caches


def test_logits_that_are_no_numbers_are_an_error_and_close_what_was_open() -> None:
    class Broken(HashBackend):
        def _run(self, chunk: Chunk) -> Logits:
            return super()._run(chunk) * np.float32("nan")

    backend = Broken(vocab_size=11)
    with pytest.raises(RequestError, match="logits are no numbers"):
        list(score_windows(Engine(backend, TOKENIZER), [Window(0, [1, 2], 1)]))
    assert not backend.caches


@pytest.mark.model
def test_a_window_scores_as_the_whole_text_does_across_blocks() -> None:
    model = load("smollm2-135m")
    text = "The river ran past the mill and on to the sea. " * 60
    token_ids = model.tokenizer.encode(text)

    (scores,) = score_windows(model.engine, [Window(0, token_ids, len(token_ids) - 1)])

    assert len(token_ids) > 600
    assert scores.nats.sum() == pytest.approx(-model.score(text).log_prob, rel=1e-6)
