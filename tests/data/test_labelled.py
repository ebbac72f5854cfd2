"""Reading texts with labels: what each form gives, and that lines without one are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextword.data.labelled import read_labelled
from nextword.errors import DataError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_lines_hold_a_text_a_tab_and_a_label(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", "sentence\tlabel\ngood film \t1\nnobody knows\n")
    texts = [(text.text, text.label, text.place) for text in read_labelled(path)]
    assert texts == [("good film ", "1", f"{path}:2"), ("nobody knows", None, f"{path}:3")]


def test_records_hold_them_in_fields_whose_names_can_be_said(tmp_path: Path) -> None:
    records = [{"review": "good", "stars": 5}, {"review": "who knows"}]
    path = written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, records)))
    texts = [(text.text, text.label) for text in read_labelled(path, text_field="review", label_field="stars")]
    assert texts == [("good", "5"), ("who knows", None)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "good\t1\n\t0\n", "a.tsv:2: there is no text"),
        ("a.tsv", "good\t1\nbad\t0\t7\n", "a.tsv:2: 3 columns"),
        ("a.tsv", b"good\t1\nb\xff\t0\n", "a.tsv:2: not UTF-8 text at byte 1"),
        ("a.jsonl", '{"text": "good"}\n{"text": 3}', "a.jsonl:2: no text in field 'text'"),
        ("a.jsonl", '{"text": "good"}\n{"text"', "a.jsonl:2: not valid JSON"),
        (
            "a.jsonl",
            '{"text": "good"}\n{"text": "bad", "label": []}',
            "a.jsonl:2: field 'label' is not a label but list",
        ),
    ],
)
def test_lines_that_cannot_be_read_are_named_or_left_out(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(DataError, match=message):
        list(read_labelled(path))
    left_out: list[DataError] = []
    assert [text.text for text in read_labelled(path, on_bad=left_out.append)] == ["good"]
    assert len(left_out) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.tsv: no such file"):
        read_labelled(tmp_path / "none.tsv")
