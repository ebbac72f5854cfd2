"""What `benchmarks.inference` has measured becomes a table, bars, JSON and a plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.bars import bars
from benchmarks.inference import joined, report_of
from benchmarks.inference_report import decode_figure, draw, print_tables, write_json
from benchmarks.measurement import Measurement
from benchmarks.sides import ENTRIES


@pytest.fixture
def measurement() -> Measurement:
    """Of all sides, with the first one twice as fast as the others."""
    measured = Measurement(list(ENTRIES), files={}, threads=2)
    at_512 = decode_figure(512)
    for index, entry in enumerate(ENTRIES):
        measured.values[entry][at_512] += [10.0, 30.0, 20.0] if index else [40.0]
        measured.token_ids[entry][1, 2, 3] = 7
        measured.limits[entry.group][at_512] += [50.0]
        measured.bytes_read[entry.group][at_512] = 1000
    return measured


def test_a_report_holds_medians_and_can_be_read_again(measurement: Measurement, tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "report.json", joined([report_of(measurement)], {"threads": 2}))
    read = json.loads((tmp_path / "new" / "report.json").read_text())
    first = ENTRIES[0]
    assert read["run"] == {"threads": 2}
    assert read["medians"][first.group][first.title][decode_figure(512)] == 40
    assert read["limits"][first.group] == {decode_figure(512): 50}
    assert read["bytes_read"][first.group] == {decode_figure(512): 1000}


def test_tables_bars_and_plot_are_made_of_it(
    measurement: Measurement, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = joined([report_of(measurement)], {"threads": 2})
    print_tables(report)
    printed = capsys.readouterr().out
    assert all(entry.title in printed for entry in ENTRIES)
    of_limit = next(bar for bar in bars(report) if bar.title.startswith("Q4_1") and "memory allows" in bar.title)
    assert of_limit.value == 40 / 50
    draw(tmp_path / "plot.svg", report)
    assert (tmp_path / "plot.svg").read_text().lstrip().startswith("<?xml")
