"""What `benchmarks.inference` measures is kept cell by cell, and becomes a table, bars and a plot."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from benchmarks.bars import bars
from benchmarks.cells import Cell, Cells
from benchmarks.inference import report_of
from benchmarks.inference_report import MEMORY, SAME_TOKEN, decode_figure, draw, print_tables
from benchmarks.measurement import Bench, Part, measure
from benchmarks.peers.process import as_installed
from benchmarks.sides import WORKLOADS, Entry

AT_512 = decode_figure(512)
SETTING = {"processor": "one", "threads": 2}


class FakeBench(Bench):
    """A workload whose sides answer at once: the first decodes 40 tokens/s, others 10, 30 and 20."""

    def __init__(self, name: str, failing: str = "") -> None:
        self.name = name
        self.workload = WORKLOADS[name]
        self.measured: list[tuple[str, str, int]] = []
        self._failing = failing

    def measure(self, entry: Entry, part: Part, repeat: int) -> Cell:
        self.measured.append((part.title, entry.title, repeat))
        if entry.title == self._failing:
            return Cell(self.name, part.title, entry.title, repeat, error="it fell over")
        is_first = entry == self.workload.entries[0]
        figures = {part.decode: 40.0 if is_first else (10.0, 30.0, 20.0)[repeat]} if part.decode else {}
        return Cell(self.name, part.title, entry.title, repeat, figures, token_id=7 if is_first else 8)

    def measure_memory(self, part: Part, repeat: int) -> Cell:
        assert part.decode is not None
        return Cell(self.name, part.title, MEMORY, repeat, {part.decode: 50.0}, bytes_read=1000)

    def bring_into_page_cache(self) -> None:
        pass

    def close(self) -> None:
        pass


def run(bench: FakeBench, cells: Cells, until: float = math.inf) -> FakeBench:
    measure(bench, cells, repeats=3, until=until)
    return bench


def all_cells(names: Iterable[str]) -> Cells:
    cells = Cells(None, SETTING)
    for name in names:
        run(FakeBench(name), cells)
    return cells


def test_medians_of_all_repeats_are_reported_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cells.json"
    run(FakeBench("Q4_0"), Cells(path, SETTING))
    report = report_of(Cells(path, SETTING))
    assert report.medians["Q4_0"]["nextword"][AT_512] == 40
    assert report.medians["Q4_0"]["llama.cpp (flash)"][AT_512] == 20
    assert report.limits["Q4_0"][AT_512] == 50
    assert report.bytes_read["Q4_0"][AT_512] == 1000
    assert report.run["repeats at least"] == 3


def test_first_tokens_are_compared_with_those_of_transformers() -> None:
    medians = report_of(all_cells(["Q4_0", "bf16", "1B F16"])).medians
    judged = {title: medians["Q4_0"][title][SAME_TOKEN] for title in ("nextword", "llama.cpp (flash)")}
    assert judged == {"nextword": 0, "llama.cpp (flash)": 1}
    assert SAME_TOKEN not in medians["1B F16"]["nextword"]


def test_sides_take_turns_and_the_faster_attention_stands_for_a_library() -> None:
    bench = run(FakeBench("Q4_0"), Cells(None, SETTING))
    titles = [entry.title for entry in bench.workload.entries]
    for part, sides in (("prompt of 512", titles), ("4 sequences of 128", titles[:2])):
        there_and_back = [*sides, *reversed(sides), *sides]
        assert [side for measured, side, _ in bench.measured if measured == part] == there_and_back


def test_a_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    stopped_after = 5

    class Stopping(FakeBench):
        def measure(self, entry: Entry, part: Part, repeat: int) -> Cell:
            if len(self.measured) == stopped_after:
                raise KeyboardInterrupt
            return super().measure(entry, part, repeat)

    first = Stopping("Q4_0")
    with pytest.raises(KeyboardInterrupt):
        run(first, Cells(path, SETTING))
    second = run(FakeBench("Q4_0"), Cells(path, SETTING))
    assert first.measured + second.measured == run(FakeBench("Q4_0"), Cells(None, SETTING)).measured
    assert run(FakeBench("Q4_0"), Cells(path, SETTING)).measured == []


def test_nothing_begins_after_the_time_is_over() -> None:
    assert run(FakeBench("Q4_0"), Cells(None, SETTING), until=time.monotonic()).measured == []


def test_only_what_is_asked_for_is_measured() -> None:
    bench = FakeBench("Q4_1")
    measure(bench, Cells(None, SETTING), repeats=3, only=("OpenVINO", "ik"), parts=("cold", "4 sequences"))
    assert {side.split()[0] for _, side, _ in bench.measured} == {"OpenVINO", "ik_llama.cpp"}
    assert {part for part, _, _ in bench.measured} == {"cold start", "4 sequences of 128"}


def test_a_side_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    for _ in range(2):
        run(FakeBench("Q4_0", failing="llama.cpp (flash)"), Cells(path, SETTING))
    report = report_of(Cells(path, SETTING))
    assert report.failures == ["Q4_0 llama.cpp (flash): not measured: it fell over"]
    assert AT_512 not in report.medians["Q4_0"].get("llama.cpp (flash)", {})


def test_cells_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    run(FakeBench("Q4_0"), Cells(path, SETTING))
    with pytest.raises(SystemExit, match="measured with threads 2, and this run has 4: give another file with --json"):
        Cells(path, {**SETTING, "threads": 4})


@pytest.mark.parametrize("content", ["{", "[]", '{"medians": {}}', '{"setting": {}, "cells": [{"speed": 1}]}'])
def test_a_file_of_something_else_is_refused_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cells.json"
    path.write_text(content)
    with pytest.raises(SystemExit, match="has no cells of this benchmark"):
        Cells(path, SETTING)
    assert path.read_text() == content


def test_tables_bars_and_plot_are_made_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(all_cells(["Q4_1", "1B F16"]))
    print_tables(report)
    printed = capsys.readouterr().out
    assert all(entry.title in printed for name in ("Q4_1", "1B F16") for entry in WORKLOADS[name].entries)
    of_limit = next(bar for bar in bars(report) if bar.title.startswith("Q4_1") and "memory allows" in bar.title)
    assert of_limit.value == 40 / 50
    draw(tmp_path / "plot.svg", report)
    assert (tmp_path / "plot.svg").read_text().lstrip().startswith("<?xml")


def test_sides_start_from_compiled_modules_as_installed_packages_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in as_installed()
    assert as_installed()["PATH"]
