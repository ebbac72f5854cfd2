"""`nextword perplexity`: files of every kind, what it prints, damage, and interruptions."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import nextword
from tests.cli.conftest import NEXTWORD, Command

LINES = ["The river ran past the mill.", "Zwölf Wörter und mehr,", "and on to the sea."]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where unfinished runs are kept."""
    monkeypatch.setenv("NEXTWORD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "perplexity"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in LINES))
    return path


def read_json(command: Command, *arguments: str | Path) -> Any:
    done = command("perplexity", *arguments, "--json")
    assert (done.code, done.out.count("\n")) == (0, 1)
    return json.loads(done.out)


def test_json_says_what_python_says(command: Command, tiny: Path, records: Path) -> None:
    found = read_json(command, tiny, records, "--context", "8", "--stride", "4")
    expected = nextword.load(tiny).perplexity(LINES, context=8, stride=4)
    (report,) = found["reports"]
    assert found["num_unreadable"] == 0
    assert (report["convention"], report["context"], report["stride"]) == ("sliding", 8, 4)
    for name in ("total_nats", "num_tokens", "num_bytes", "nats_per_token", "perplexity", "bits_per_byte"):
        assert report[name] == getattr(expected, name)
    assert expected.bits_interval is not None
    assert report["intervals"]["bits_per_byte"] == [expected.bits_interval.low, expected.bits_interval.high]
    assert [document["place"] for document in report["documents"]] == [f"{records}:{line}" for line in (1, 2, 3)]
    assert math.fsum(document["total_nats"] for document in report["documents"]) == pytest.approx(expected.total_nats)


def test_all_conventions_stand_side_by_side(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(" ".join(LINES))
    done = command("perplexity", tiny, tmp_path / "text.txt", "--convention", "all", "--context", "16")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["convention", "sliding", "llama.cpp"]
    assert lines[3].startswith("lm-eval: the convention lm-eval needs a BOS or end-of-sequence token")


def test_a_text_too_short_for_one_convention_is_measured_by_the_others(
    command: Command, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(LINES[0])
    done = command("perplexity", tiny, tmp_path / "text.txt", "--convention", "all", "--context", "100")
    assert done.code == 0
    assert "llama.cpp: no text that could be scored: llama.cpp scores texts of at least 100 tokens" in done.out


def test_parquet_and_text_give_what_json_lines_give(
    command: Command, tiny: Path, records: Path, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": LINES}), tmp_path / "records.parquet")
    for number, line in enumerate(LINES):
        (tmp_path / f"{number}.txt").write_text(line)
    totals = [
        read_json(command, tiny, *arguments, "--context", "8")["reports"][0]["total_nats"]
        for arguments in (
            (records,),
            (tmp_path / "records.parquet", "--field", "body"),
            tuple(tmp_path / f"{number}.txt" for number in range(3)),
        )
    ]
    assert totals[0] == totals[1] == totals[2]


def test_each_document_has_a_line(command: Command, tiny: Path, records: Path) -> None:
    done = command("perplexity", tiny, records, "--context", "8")
    assert [line.split()[0] for line in done.out.splitlines()[:5]] == [
        "sliding",
        "document",
        *(f"{records}:{line}" for line in (1, 2, 3)),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "text.jsonl: "),
        ('{"text": "a"}\n', "text.jsonl:1: the text has a single token"),
        ('{"text": "two"}\n{"text": ""}\n', "text.jsonl:2: the text is empty"),
        ('{"text": "two"}\n{"text: "x"}\n', "text.jsonl:2: not valid JSON"),
        (
            '{"text": "two"}\n{"txt": "x"}\n',
            "text.jsonl:2: no field 'text'; the fields are txt (--field names another)",
        ),
    ],
)
def test_damage_is_named_with_file_and_line(
    command: Command, tiny: Path, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "text.jsonl").write_text(content)
    done = command("perplexity", tiny, tmp_path / "text.jsonl")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message.removeprefix("text.jsonl: ") in done.err


def test_damage_can_be_left_out_and_is_counted(command: Command, tiny: Path, records: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("{\n" + records.read_text() + '{"text": ""}\n')
    found = read_json(command, tiny, damaged, "--skip-bad")
    assert (found["num_unreadable"], found["reports"][0]["num_too_short"]) == (1, 1)
    assert found["reports"][0]["total_nats"] == read_json(command, tiny, records)["reports"][0]["total_nats"]
    done = command("perplexity", tiny, damaged, "--skip-bad")
    assert "1 unreadable record left out; the first: " in done.err
    assert "1 document too short" in done.err


def test_a_context_beyond_the_models_is_refused(command: Command, tiny: Path, records: Path) -> None:
    done = command("perplexity", tiny, records, "--context", "50001")
    assert done.code == 2
    assert "context = 50001: the model attends to at most 50000 tokens" in done.err


def test_a_page_holds_the_figures_and_fetches_nothing(
    command: Command, tiny: Path, records: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = command("perplexity", tiny, records, "--context", "8", "--convention", "all", "--html", tmp_path / "p.html")
    assert done.code == 0
    page = (tmp_path / "p.html").read_text()
    perplexity = nextword.load(tiny).perplexity(LINES, context=8).perplexity
    assert f"<td>{perplexity:.4f}</td>" in page
    assert page.count("<svg ") == 2
    assert 'src="' not in page


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(
    command: Command, tiny: Path, records: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = command("perplexity", tiny, records, "--html", "nosuch/page.html")
    assert (done.code, done.out) == (2, "")
    assert "nosuch/page.html: cannot be written" in done.err


def test_an_interrupted_run_goes_on_with_the_same_command(
    command: Command, tiny: Path, tmp_path: Path, own_cache: Path
) -> None:
    many = tmp_path / "many.jsonl"
    many.write_text("".join(json.dumps({"text": f"{LINES[0]} {number} " * 8}) + "\n" for number in range(400)))
    arguments = ("perplexity", str(tiny), str(many), "--context", "64", "--json")
    process = subprocess.Popen([*NEXTWORD, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lines = own_cache
    while process.poll() is None and not any(path.stat().st_size > 1000 for path in lines.glob("*/documents.jsonl")):
        pass
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"run the same command again to resume" in said
    resumed = command(*arguments)
    assert "were scored by the run before" in resumed.err
    assert list(own_cache.iterdir()) == []
    whole = command(*arguments)
    assert "run before" not in whole.err
    assert resumed.out == whole.out
