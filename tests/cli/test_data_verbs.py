"""`nextword tokenizer`, `prepare` and `data`: what they write and print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextword.text import load_tokenizer_folder
from tests.cli.conftest import Command


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    lines = [{"story": f"the cat number {number} sat on the mat\n"} for number in range(40)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_a_trained_tokenizer_is_written_and_measured(command: Command, corpus: Path, tmp_path: Path) -> None:
    done = command("tokenizer", "train", corpus, "--vocab-size", "300", "-o", tmp_path / "t", "--field", "story")
    assert done.code == 0
    assert "' cat'" in done.out
    assert load_tokenizer_folder(tmp_path / "t").vocab_size <= 300


def test_the_report_of_a_tokenizer_has_its_figures(command: Command, corpus: Path, tmp_path: Path) -> None:
    asked = ("--kind", "characters", "-o", tmp_path / "t", "--field", "story", "--json")
    found = json.loads(command("tokenizer", "train", corpus, *asked).out)
    assert found["num_bytes"] == found["num_tokens"]
    assert found["bytes_per_token"] == 1
    assert found["example"][:3] == ["t", "h", "e"]


def test_what_cannot_be_read_ends_with_its_place_or_is_counted(command: Command, corpus: Path, tmp_path: Path) -> None:
    corpus.write_text(corpus.read_text() + '\n{"story": 3}\n')
    asked = ("tokenizer", "train", corpus, "--vocab-size", "300", "-o", tmp_path / "t", "--field", "story")
    refused = command(*asked)
    assert refused.code == 2
    assert "corpus.jsonl:41: field 'story' is no text but int" in refused.err
    skipped = command(*asked, "--skip-unreadable")
    assert skipped.code == 0
    assert "1 unreadable text left out; the first: " in skipped.err


@pytest.fixture
def tokenizer(command: Command, corpus: Path, tmp_path: Path) -> Path:
    command("tokenizer", "train", corpus, "--vocab-size", "300", "-o", tmp_path / "tokenizer", "--field", "story")
    return tmp_path / "tokenizer"


def test_a_corpus_is_prepared_once(command: Command, corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    asked = ("prepare", corpus, "--tokenizer", tokenizer, "-o", tmp_path / "d", "--field", "story")
    first = command(*asked, "--min-characters", "33")
    assert first.out.splitlines()[0].endswith("tokens of 30 documents")
    assert first.out.splitlines()[1] == "10 of 40 left out: too short"
    assert command(*asked, "--min-characters", "33").out.endswith("complete and intact, nothing was left to do\n")
    assert command(*asked).code == 2


def test_the_report_of_a_preparation_has_its_figures(
    command: Command, corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    corpus.write_text("oops\n" + corpus.read_text())
    asked = ("--tokenizer", tokenizer, "-o", tmp_path / "d", "--field", "story", "--skip-unreadable", "--json")
    found = json.loads(command("prepare", corpus, *asked).out)
    assert found["num_unreadable"] == 1
    assert found["selection"] == {"num_read": 40, "num_kept": 40, "left_out": {}}
    assert found["num_tokens"] > 40
