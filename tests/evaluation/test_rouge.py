"""ROUGE figures against numbers worked out by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("rouge_score")

from nextword.evaluation.rouge import rouge_report


def test_figures_are_those_worked_out_by_hand() -> None:
    # 1: all of it; 2: "the river" of three and four words: F1 = 2 * (2/3 * 2/4) / (2/3 + 2/4) = 4/7, one pair of 2, 3.
    report = rouge_report([("the river ran", "the river ran"), ("see the river", "the river is wide")])
    assert report.num_texts == 2
    assert report.mean_words == 3.5
    assert report.figures["rouge1"].mean == pytest.approx((1 + 4 / 7) / 2)
    assert report.figures["rouge2"].mean == pytest.approx((1 + 2 / 5) / 2)
    assert report.figures["rougeL"].mean == pytest.approx((1 + 4 / 7) / 2)


def test_the_interval_holds_the_mean_and_narrows_with_more_texts() -> None:
    pairs = [("the river ran", "the river ran"), ("see the river", "a road")]
    few, many = rouge_report(pairs * 5).figures["rouge1"], rouge_report(pairs * 50).figures["rouge1"]
    assert few.interval is not None
    assert many.interval is not None
    assert few.interval.low < few.mean < few.interval.high
    assert many.interval.high - many.interval.low < few.interval.high - few.interval.low
    # The standard error of 100 values that are 0 or 1 as often is 0.05.
    assert many.interval.high - many.interval.low == pytest.approx(2 * 1.96 * 0.05, rel=0.15)


def test_one_text_has_no_interval() -> None:
    assert rouge_report([("the river", "the river")]).figures["rougeL"].interval is None
