"""Scores of given tokens: those of the C++ core's `score`, bit for bit, and near those of a softmax in float64."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.decoding.distribution import Distribution
from nextword.decoding.row_scores import RowScores, score_row
from nextword.decoding.sampler import score_token
from nextword.errors import RequestError
from nextword.inference.backend import Chunk
from tests.inference.native import CONFIG, native


def rows(count: int, size: int) -> np.ndarray:
    return (4 * np.random.default_rng(1).standard_normal((count, size))).astype(np.float32)


def test_scores_have_the_bits_of_the_core() -> None:
    backend = native()
    text = [(5 * i) % CONFIG.vocab_size for i in range(40)]
    targets = [(7 * i) % CONFIG.vocab_size for i in range(40)]
    (scores,) = backend.score([Chunk(backend.open_cache(), text, 40)], [targets])
    (logits,) = backend.step([Chunk(backend.open_cache(), text, 40)])
    assert [
        -RowScores(row).log_prob(target) for row, target in zip(logits, targets, strict=True)
    ] == scores.nats.tolist()


@pytest.mark.parametrize("size", [2, 300, 49_152])
def test_scores_are_near_those_of_a_softmax(size: int) -> None:
    for row in rows(5, size):
        for token_id in (0, size - 1, int(row.argmax())):
            expected = score_token(Distribution.from_logits(row), token_id, num_alternatives=2)
            found = score_row(row, token_id, num_alternatives=2)
            assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-6)
            assert [one for one, _ in found.alternatives] == [one for one, _ in expected.alternatives]
            np.testing.assert_allclose(
                [value for _, value in found.alternatives], [value for _, value in expected.alternatives], atol=1e-6
            )


def test_equal_logits_are_ranked_by_token_id() -> None:
    found = RowScores(np.array([1, 2, 1, 2], np.float32)).most_probable(3)
    assert [token_id for token_id, _ in found] == [1, 3, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_no_distribution_is_refused(bad: float) -> None:
    with pytest.raises(RequestError):
        RowScores(np.array([1, bad], np.float32))
