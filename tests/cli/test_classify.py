"""`nextword classify` on a tiny model: figures, choices, pages, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

ASKED = ("--labels", "positive,negative", "--prompt", "{text}:")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.tsv"
    path.write_text("a fine film\t1\ndull\t0\nI laughed\t1\n")
    return path


def test_labels_in_a_file_may_be_words_truth_values_or_said(command: Command, tiny: Path, reviews: Path) -> None:
    by_truth = json.loads(command("classify", tiny, reviews, *ASKED, "--json").out)
    assert [text["right"] for text in by_truth["texts"]] == ["positive", "negative", "positive"]
    said = command("classify", tiny, reviews, "--labels", "fine=1,bad=0", "--prompt", "{text}:", "--json")
    assert [text["right"] for text in json.loads(said.out)["texts"]] == ["fine", "bad", "fine"]
    assert by_truth["report"]["num_texts"] == 3
    assert sum(by_truth["texts"][0]["probabilities"].values()) == pytest.approx(1.0)


def test_figures_are_printed_and_written_as_a_page(command: Command, tiny: Path, reviews: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = command("classify", tiny, reviews, *ASKED, "--html", tmp_path / "page.html")
    assert done.code == 0
    assert "accuracy " in done.out
    assert "3 texts" in done.out
    assert "<svg" in (tmp_path / "page.html").read_text()


def test_without_true_labels_the_choices_are_printed(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "a fine film"}\n{"text": "dull"}\n')
    done = command("classify", tiny, tmp_path / "texts.jsonl", *ASKED)
    assert [line.split("\t")[2] for line in done.out.splitlines()] == ["a fine film", "dull"]
    refused = command("classify", tiny, tmp_path / "texts.jsonl", *ASKED, "--html", tmp_path / "page.html")
    assert (refused.code, "has no true labels" in refused.err) == (2, True)


def test_unreadable_lines_end_it_or_are_counted(command: Command, tiny: Path, reviews: Path) -> None:
    reviews.write_text(reviews.read_text() + "what?\tmaybe\n")
    refused = command("classify", tiny, reviews, *ASKED)
    assert refused.code == 2
    assert "reviews.tsv:4: label 'maybe' is none of positive, negative" in refused.err
    skipped = command("classify", tiny, reviews, *ASKED, "--skip-bad")
    assert skipped.code == 0
    assert "1 unreadable record left out; the first: " in skipped.err
    assert "3 texts" in skipped.out


def test_labels_with_the_same_tokens_are_refused(command: Command, tiny: Path, reviews: Path) -> None:
    refused = command("classify", tiny, reviews, "--labels", "positive=1,positive=0")
    assert (refused.code, "twice" in refused.err) == (2, True)


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_below_one_is_refused(command: Command, tiny: Path, reviews: Path, limit: str) -> None:
    refused = command("classify", tiny, reviews, *ASKED, "--limit", limit)
    assert (refused.code, f"limit = {limit}: at least one text is needed" in refused.err) == (2, True)


def test_examples_are_read_from_a_file(command: Command, tiny: Path, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "few.jsonl").write_text('{"text": "lovely", "label": "positive"}\n{"text": "so so"}\n')
    refused = command("classify", tiny, reviews, *ASKED, "--examples", tmp_path / "few.jsonl")
    assert (refused.code, "few.jsonl:2: an example needs a label" in refused.err) == (2, True)
    (tmp_path / "few.jsonl").write_text('{"text": "lovely", "label": "positive"}\n')
    with_examples = command("classify", tiny, reviews, *ASKED, "--examples", tmp_path / "few.jsonl", "--json")
    without = command("classify", tiny, reviews, *ASKED, "--json")
    assert json.loads(with_examples.out)["texts"] != json.loads(without.out)["texts"]
