"""Figures of decoded texts against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("nltk")

from nextword.evaluation.decoded import DecodedText, decoded_figures, distinct, repetition, self_bleu, zipf
from nextword.inference.backend import TokenScores


def text(*token_ids: int, nats: float = 1.0, entropy: float = 2.0) -> DecodedText:
    count = len(token_ids)
    none = np.zeros(count, np.int32)
    return DecodedText(token_ids, TokenScores(np.full(count, nats), np.full(count, entropy), none, none))


def test_repetition_counts_what_the_text_had_before() -> None:
    assert repetition([1, 2, 1, 2, 1], 2) == pytest.approx(2 / 4)
    assert repetition([1, 2, 3, 4], 2) == 0.0
    assert repetition([1], 2) == 0.0


def test_distinct_counts_over_all_texts() -> None:
    assert distinct([[1, 2, 3], [1, 2, 4]], 2) == pytest.approx(3 / 4)
    assert distinct([[], [1]], 2) == 0.0


def test_self_bleu_is_one_of_copies_and_near_zero_of_strangers() -> None:
    assert self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx(1.0)
    assert self_bleu([list(range(10)), list(range(10, 20))]) < 0.05
    # Precisions 4/5, 3/4, 2/3, 1/2 both ways, and no penalty for length.
    bleu = math.prod((4 / 5, 3 / 4, 2 / 3, 1 / 2)) ** 0.25
    assert self_bleu([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]]) == pytest.approx(bleu)


def test_figures_weigh_tokens_not_texts() -> None:
    short, long = text(1, 2, nats=4.0, entropy=1.0), text(1, 2, 3, 4, 5, 6, nats=1.0, entropy=3.0)
    figures = decoded_figures([[short, long], [long, long]])
    assert figures.perplexity == pytest.approx(math.exp((2 * 4 + 18 * 1) / 20))
    assert figures.entropy == pytest.approx((2 * 1 + 18 * 3) / 20)
    assert figures.mean_length == 5.0
    assert figures.num_texts == 4
    assert figures.perplexity_interval is not None
    assert figures.perplexity_interval.low == pytest.approx(math.e)


def test_zipfs_exponent_is_that_of_the_frequencies() -> None:
    texts = [[rank] * (1_000_000 // rank**2) for rank in range(1, 21)]
    assert zipf(texts) == pytest.approx(2.0, abs=1e-3)
    assert zipf([[1, 2, 3], [3, 2, 1]]) == pytest.approx(0.0, abs=1e-12)
    # Frequencies 4, 2, 1, 1: the line of least squares through (0, ln 4), (ln 2, ln 2), (ln 3, 0) and (ln 4, 0).
    ranks, logs = [math.log(rank) for rank in (1, 2, 3, 4)], [math.log(count) for count in (4, 2, 1, 1)]
    mean_rank, mean_log = sum(ranks) / 4, sum(logs) / 4
    products = sum((x - mean_rank) * (y - mean_log) for x, y in zip(ranks, logs, strict=True))
    expected = -products / sum((x - mean_rank) ** 2 for x in ranks)
    assert zipf([[5, 5, 5, 5], [6, 6, 7, 8]]) == pytest.approx(expected)
    assert zipf([[1, 1]]) is None
    assert zipf([]) is None


def test_one_text_for_each_prompt_has_no_self_bleu() -> None:
    one = text(1, 2, nats=4.0, entropy=1.0)
    assert decoded_figures([[one], [one]]).self_bleu is None
    assert decoded_figures([[one], [one, one]]).self_bleu == pytest.approx(self_bleu([[1, 2]] * 2))
