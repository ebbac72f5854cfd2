"""ROUGE figures against numbers worked out by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("rouge_score")

from nextword.evaluation.rouge import rouge_report
from nextword.evaluation.rouge_words import UnicodeWords, words_of


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


@pytest.mark.parametrize(
    ("reference", "summary", "rouge1", "rouge2"),
    [
        ("река течёт быстро", "река течёт медленно", 2 / 3, 1 / 2),
        ("这条河很长", "这条河短", 2 * 3 / (5 + 4), 2 * 2 / (4 + 3)),
        ("für die Straße", "für die STRASSE", 1, 1),
        ("नदी बहती है", "नदी बहती थी", 2 / 3, 1 / 2),
        ("แม่น้ำ", "แม่น้ำ", 1, 1),
        ("Ο ποταμός", "χωρίς λέξη", 0, 0),
    ],
)
def test_words_of_any_script_are_compared(reference: str, summary: str, rouge1: float, rouge2: float) -> None:
    """Characters count as words in Chinese: 3 of 5 and 4 are shared, and 2 pairs of 4 and 3."""
    assert words_of([reference]) == "unicode"
    figures = rouge_report([(reference, summary)], words="unicode").figures
    assert figures["rouge1"].mean == pytest.approx(rouge1)
    assert figures["rouge2"].mean == pytest.approx(rouge2)


def test_a_mark_belongs_to_the_word_before_it() -> None:
    assert UnicodeWords().tokenize("क\u094d, \u0301x é") == ["क\u094d", "x", "é"]
    assert UnicodeWords().tokenize("น้ำใส 2nd") == ["น้ํ", "า", "ใ", "ส", "2nd"]


def test_english_with_a_few_accents_keeps_the_words_of_the_papers() -> None:
    plain = "A river ran past the mill, and it was cold in winter, said the owner of the house."
    assert words_of([plain, plain, "The café was closed, but the road was open to all."]) == "english"
    assert words_of(["Der Fluß fließt schnell, und die Brücke über ihn ist alt."]) == "unicode"
    assert words_of(["La città è vecchia, e il fiume la divide in due parti."]) == "unicode"
