"""`nextword tokenizer`, `prepare` and `data`: what they write and print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextword.cli.verbs import data
from nextword.text.tokenizer_folder import load_tokenizer_folder
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
    assert "corpus.jsonl:41: field 'story' is not text but int" in refused.err
    skipped = command(*asked, "--skip-bad")
    assert skipped.code == 0
    assert "1 unreadable record left out; the first: " in skipped.err


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
    asked = ("--tokenizer", tokenizer, "-o", tmp_path / "d", "--field", "story", "--skip-bad", "--json")
    found = json.loads(command("prepare", corpus, *asked).out)
    assert found["num_unreadable"] == 1
    assert found["selection"] == {"num_read": 40, "num_kept": 40, "left_out": {}}
    assert found["num_tokens"] > 40


CHATS = [
    {"instruction": "say é", "output": "é😀!"},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
]


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, CHATS)))
    return path


def test_an_example_is_shown_with_what_carries_loss(command: Command, chats: Path, tokenizer: Path) -> None:
    shown = command("data", "show", tokenizer, chats).out.splitlines()
    assert shown[:4] == ["<|user|>", "say é<|endoftext|>", "<|assistant|>", "⟦é😀!<|endoftext|>⟧"]
    assert shown[4].startswith(f"{chats}:1: ")
    assert shown[4].endswith(" with loss")


def test_json_says_of_each_token_whether_it_carries_loss(command: Command, chats: Path, tokenizer: Path) -> None:
    found = json.loads(command("data", "show", tokenizer, chats, "--number", "2", "--json").out)
    assert found["place"] == f"{chats}:2"
    assert [token["text"] for token in found["tokens"] if token["carries_loss"]] == ["h", "o", "<|endoftext|>"]


def test_an_example_of_another_form_is_shown(command: Command, tmp_path: Path, tokenizer: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"question": "why", "answer": "so"}')
    done = command("data", "show", tokenizer, path, "--user", "Tell me {question}.", "--answer", "answer")
    assert "Tell me why." in done.out
    assert "⟦so<|endoftext|>⟧" in done.out


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("--number", "3"), "has no example 3"),
        (("--number", "0"), "counted from 1"),
        (("--user", "x"), "needed together"),
    ],
)
def test_an_example_that_is_not_there_is_refused(
    command: Command, chats: Path, tokenizer: Path, asked: tuple[str, ...], reason: str
) -> None:
    done = command("data", "show", tokenizer, chats, *asked)
    assert done.code == 2
    assert reason in done.err


def test_on_a_terminal_what_carries_loss_is_green(
    command: Command, chats: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "takes_colours", lambda stream: True)
    assert "\033[32mé😀!<|endoftext|>\033[0m\n" in command("data", "show", tokenizer, chats).out
