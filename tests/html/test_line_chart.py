"""Lines as inline SVG: axes with round numbers, every line with its legend, few points however long the run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from nextword.html.line_chart import Line, line_chart


def points(chart: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]*)"', chart)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in one.split())] for one in found]


def test_a_chart_is_markup_with_a_line_and_a_legend_for_each() -> None:
    chart = line_chart(
        [Line("loss <1>", [1, 2, 3], [3.0, 2.0, 1.0]), Line("empty", [], [])], x_label="step", y_label="y"
    )
    ElementTree.fromstring(chart)
    assert chart.count("<polyline") == 1
    assert "loss &lt;1&gt;" in chart
    assert "empty" not in chart


def test_smaller_values_are_lower_and_later_ones_to_the_right() -> None:
    ((first, second),) = points(line_chart([Line("a", [0, 10], [5.0, 1.0])], x_label="x", y_label="y"))
    assert first[0] < second[0]
    assert first[1] < second[1], "the y axis of SVG points down"


def test_a_long_line_keeps_few_points_and_its_ends() -> None:
    (drawn,) = points(line_chart([Line("a", range(10_000), range(10_000))], x_label="x", y_label="y"))
    (ends,) = points(line_chart([Line("a", [0, 9_999], [0, 9_999])], x_label="x", y_label="y"))
    assert len(drawn) <= 601
    assert [drawn[0], drawn[-1]] == ends


@pytest.mark.parametrize("ys", [[2.0], [2.0, 2.0]])
def test_a_line_without_extent_is_drawn_in_the_middle(ys: list[float]) -> None:
    (drawn,) = points(line_chart([Line("a", range(len(ys)), ys)], x_label="x", y_label="y"))
    assert len({y for _, y in drawn}) == 1


def test_axes_have_round_numbers() -> None:
    chart = line_chart([Line("a", [1, 97], [0.13, 4.4])], x_label="x", y_label="y")
    numbers = [float(found) for found in re.findall(r'fill="#555">([\d.]+)</text>', chart)]
    assert numbers == [1.0, 2.0, 3.0, 4.0, 20.0, 40.0, 60.0, 80.0]


def test_without_points_there_is_no_chart() -> None:
    assert line_chart([Line("a", [], [])], x_label="x", y_label="y") == ""
