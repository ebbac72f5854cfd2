"""Intervals: as wide as theory has it, and the same however often the sums were put down and taken up."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.evaluation.bootstrap import Floats, Resamples


def mean(sums: Floats) -> Floats:
    return np.asarray(sums[0] / sums[1])


def test_the_interval_of_a_mean_is_two_standard_errors_to_each_side() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    resamples = Resamples(2)
    for value in values:
        resamples = resamples.plus(value, 1.0)
    interval = resamples.interval(mean)
    assert interval is not None
    error = values.std() / 400**0.5
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


@pytest.mark.slow
def test_intervals_hold_the_truth_in_nineteen_of_twenty_cases() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        resamples = Resamples(2)
        for value in random.exponential(3.0, 60):
            resamples = resamples.plus(value, 1.0)
        interval = resamples.interval(mean)
        assert interval is not None
        held += interval.low <= 3.0 <= interval.high
    assert 0.88 <= held / 200 <= 0.99


def test_a_unit_counts_by_its_size() -> None:
    """A ratio of sums is no mean of ratios."""
    resamples = Resamples(2)
    for nats, tokens in [(100.0, 100.0), (30.0, 10.0)] * 50:
        resamples = resamples.plus(nats, tokens)
    interval = resamples.interval(mean)
    assert interval is not None
    assert interval.low < 130 / 110 < interval.high
    assert interval.high < 2.0


def test_one_unit_has_no_interval() -> None:
    assert Resamples(2).plus(1.0, 1.0).interval(mean) is None


def test_a_figure_that_is_nan_has_no_interval() -> None:
    """Few documents with text among many without: some resamples have none of them."""
    resamples = Resamples(2).plus(1.0, 2.0)
    for _ in range(20):
        resamples = resamples.plus(1.0, 0.0)
    assert resamples.interval(lambda sums: sums[0] / np.where(sums[1], sums[1], np.nan)) is None


def test_taken_up_sums_go_on_as_if_they_had_not_been_put_down() -> None:
    first = Resamples(2).plus(1.0, 2.0)
    again = Resamples(2, num_units=1, sums=first.sums.tolist())
    np.testing.assert_array_equal(again.plus(3.0, 4.0).sums, first.plus(3.0, 4.0).sums)
