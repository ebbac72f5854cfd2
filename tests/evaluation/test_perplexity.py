"""Sliding perplexity, held to sums written out over the logits of a backend that hashes the text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nextword.errors import RequestError
from nextword.evaluation.perplexity import sliding_perplexity
from tests.fakes import HashBackend

TEXT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def surprisal(backend: HashBackend, context: list[int], target: int) -> float:
    """-log p(target | context), written out in float64."""
    exponentials = np.exp(backend.logits_after(context).astype(np.float64))
    return -math.log(exponentials[target] / exponentials.sum())


def test_each_token_is_scored_with_the_context_of_its_window() -> None:
    backend = HashBackend(vocab_size=11)
    starts = {1: 0, 2: 0, 3: 0, 4: 2, 5: 2, 6: 4, 7: 4, 8: 6, 9: 6}  # position -> start of its window
    expected = sum(surprisal(backend, TEXT[start:at], TEXT[at]) for at, start in starts.items())

    report = sliding_perplexity(backend, TEXT, context=4, stride=2)

    assert report.num_tokens == 9
    assert report.total_nats == pytest.approx(expected, rel=1e-6)
    assert report.perplexity == pytest.approx(math.exp(expected / 9), rel=1e-6)
    assert not backend.caches


@pytest.mark.parametrize("text", [[], [3]])
def test_a_text_without_two_tokens_is_refused(text: list[int]) -> None:
    with pytest.raises(RequestError, match="at least two"):
        sliding_perplexity(HashBackend(vocab_size=11), text)


def test_a_context_beyond_the_models_is_refused() -> None:
    with pytest.raises(RequestError, match="context = 65: the model attends to at most 64"):
        sliding_perplexity(HashBackend(vocab_size=11), TEXT, context=65)
