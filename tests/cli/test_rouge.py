"""`nextword rouge` on a tiny model: a line for each decoding, its figures, its page, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from tests.cli.conftest import Command

pytest.importorskip("rouge_score")


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    path = tmp_path / "dialogues.jsonl"
    records = [
        {"dialogue": "A: Shall we go to the river?\nB: Yes.", "summary": "A and B go to the river."},
        {"dialogue": "A: It rains.\nB: It does.", "summary": "A and B talk about the rain."},
        {"dialogue": "A: Good night.\nB: Good night.", "summary": "They say good night."},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_each_setting_gives_a_line_whatever_else_is_asked(command: Command, tiny: Path, dialogues: Path) -> None:
    asked = ("rouge", tiny, dialogues, "--limit", "2", "--json", "--setting", "temperature=1.5 top_k=20")
    alone = json.loads(command(*asked).out)["settings"]
    both = json.loads(command(*asked, "--setting", "greedy").out)["settings"]
    assert [setting["decoding"] for setting in both] == ["temperature=1.5 top_k=20", "greedy"]
    assert both[:1] == alone
    assert both[0]["summaries"] != both[1]["summaries"]
    assert {setting["num_texts"] for setting in both} == {2}


def test_the_table_and_the_page_have_all_settings(
    command: Command, tiny: Path, dialogues: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = command("rouge", tiny, dialogues, "--html", tmp_path / "page.html")
    assert done.code == 0
    header, *lines = done.out.splitlines()
    assert header.split()[:3] == ["decoding", "ROUGE-1", "95"]
    assert [line.split()[0] for line in lines] == ["summarize", "greedy", "temperature=0.7", "top_k=50", "top_p=0.9"]
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page
    assert "A and B go to the river." in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--setting", "beam"), "'beam' is no parameter=value"),
        (("--setting", "top_q=0.9"), "unknown sampling parameter 'top_q'"),
        (("--setting", "top_p=2"), "top_p"),
        (("--setting", "top_p=high"), "'high' is no number"),
        (("--setting", ""), "an empty setting"),
        (("--setting", "n=2"), "n is not allowed: one summary is drawn"),
        (("--setting", "max_tokens=9"), "max_tokens is not allowed: length decides"),
        (("--setting", "greedy", "--setting", "greedy"), "twice"),
        (("--limit", "0"), "limit = 0"),
        (("--html", "/no/such/folder/page.html"), "is no folder"),
        (("--text-field", "text"), "dialogues.jsonl:1: no text in 'text' and 'summary'; the fields are dialogue"),
    ],
)
def test_what_makes_no_sense_is_refused(
    command: Command, tiny: Path, dialogues: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = command("rouge", tiny, dialogues, *arguments)
    assert refused.code == 2
    assert message in refused.err


def test_unreadable_lines_are_left_out_and_counted(command: Command, tiny: Path, dialogues: Path) -> None:
    dialogues.write_text('{"dialogue": "A: No?"}\n' + dialogues.read_text())
    done = command("rouge", tiny, dialogues, "--skip-bad", "--limit", "1", "--setting", "greedy")
    assert done.code == 0
    assert "1 unreadable record left out; the first: " in done.err


@pytest.mark.model
def test_the_real_model_finds_words_that_people_use(command: Command, dialogues: Path) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    asked = ("rouge", "smollm2-135m", dialogues, "--json", "--setting", "greedy", "--setting", "temperature=4")
    greedy, wild = json.loads(command(*asked).out)["settings"]
    assert greedy["figures"]["rouge1"]["mean"] > 0.2 > wild["figures"]["rouge1"]["mean"]
