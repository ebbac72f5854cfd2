"""The figures of a classifier, held to counts done by hand and to scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nextword.evaluation.classification import classification_report
from nextword.workflows.classification_page import write_classification_page

PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.95, 0.05]])
RIGHT = [0, 1, 1, 1, 0]
REPORT = classification_report(["yes", "no"], RIGHT, PROBABILITIES)


def test_choices_are_counted_by_right_and_chosen_label() -> None:
    assert REPORT.confusion == ((2, 0), (1, 2))
    assert REPORT.accuracy == pytest.approx(4 / 5)
    assert REPORT.chance == pytest.approx(3 / 5)
    assert [(one.precision, one.recall) for one in REPORT.by_label] == [(2 / 3, 1.0), (1.0, 2 / 3)]
    assert REPORT.macro_f1 == pytest.approx(0.8)
    assert json.dumps(REPORT.confusion) == "[[2, 0], [1, 2]]"


def test_calibration_compares_confidence_and_accuracy_in_bins() -> None:
    assert [(one.low, one.num_texts) for one in REPORT.bins] == [(0.6, 1), (0.7, 1), (0.8, 1), (0.9, 2)]
    assert REPORT.bins[-1].confidence == pytest.approx(0.925)
    expected = (0.6 * 1 + 0.3 * 1 + 0.2 * 1 + 0.075 * 2) / 5
    assert REPORT.calibration_error == pytest.approx(expected)


def test_the_interval_holds_the_accuracy_and_stays_within_0_and_1() -> None:
    low, high = REPORT.accuracy_interval
    assert (low, high) == pytest.approx((0.3755, 0.9638), abs=1e-4)
    all_right = classification_report(["yes", "no"], [0] * 3, np.array([[1.0, 0.0]] * 3))
    assert 0.0 < all_right.accuracy_interval[0] < all_right.accuracy_interval[1] <= 1.0


def test_figures_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1.0, 1.0, 1.0], 200)
    right = random.integers(0, 3, 200)
    report = classification_report("abc", right.tolist(), probabilities)

    chosen = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(report.confusion, metrics.confusion_matrix(right, chosen))
    assert report.macro_f1 == pytest.approx(metrics.f1_score(right, chosen, average="macro"))
    assert report.by_label[1].precision == pytest.approx(metrics.precision_score(right, chosen, average=None)[1])


def test_the_page_holds_its_plots_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_classification_page(tmp_path / "page.html", REPORT, title="reviews & <more>")

    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "reviews &amp; &lt;more&gt;" in page
    assert "Accuracy 0.800" in page
    assert 'src="http' not in page
    assert "<link" not in page
