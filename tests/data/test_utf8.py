"""Every verb reads text the same way: a byte order mark says the encoding, and a line ends with a line feed alone."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.data import utf8
from nextword.data.chats import read_chats
from nextword.data.documents import read_documents
from nextword.data.labelled import read_labelled
from nextword.data.summarised import read_summarised
from nextword.data.utf8 import read_text, split_lines
from nextword.errors import DataError

MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
ODD = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg😀"
"""Characters that `str.splitlines` takes for line ends."""


def encoded(text: str, encoding: str) -> bytes:
    return MARKED[encoding] + text.encode(encoding)


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_reader_takes_each_encoding_and_line_end(tmp_path: Path, encoding: str, end: str) -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": ODD}]
    record = {"text": ODD, "label": 1, "messages": said, "dialogue": ODD, "summary": ODD}
    records = tmp_path / "a.jsonl"
    records.write_bytes(encoded("".join(json.dumps(record, ensure_ascii=False) + end for _ in range(2)), encoding))
    table = tmp_path / "a.tsv"
    table.write_bytes(encoded(f"{ODD}\t1{end}{ODD}\t1{end}", encoding))
    plain = tmp_path / "a.txt"
    plain.write_bytes(encoded(ODD + end, encoding))

    assert [document.text for document in read_documents([records])] == [ODD] * 2
    assert [document.text for document in read_documents([plain])] == [ODD + end] == [read_text(plain)]
    for labelled in (read_labelled(records), read_labelled(table)):
        assert [(text.text, text.label) for text in labelled] == [(ODD, "1")] * 2
    assert [chat.messages[1]["content"] for chat in read_chats([records])] == [ODD] * 2
    assert [text.summary for text in read_summarised(records)] == [ODD] * 2


@given(text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=40), encoding=st.sampled_from([*MARKED]))
def test_any_text_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt.gz"
    path.write_bytes(gzip.compress(encoded(text, encoding)))
    assert read_text(path) == text


def test_blocks_may_end_within_a_character(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    text = "€😀x" * 400_000
    path.write_bytes(encoded("y" + text, "utf-16-le"))
    assert "".join(document.text for document in read_documents([path])) == "y" + text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "hello".encode("utf-16-le"), "a.txt: UTF-16 without a byte order mark; save it as UTF-8"),
        ("a.txt", "hello".encode("utf-16")[:-1], "a.txt: not UTF-16-LE, as it begins: truncated data"),
        ("a.jsonl", b'{"text": "a"}\r{"text": "b"}\r', "a.jsonl: its lines end in carriage returns alone"),
        ("a.jsonl", b'{"text": "a", "text": "b"}', "a.jsonl:1: not valid JSON: field 'text' appears twice"),
        ("a.csv", b"text\nhello\n", "a.csv: a table is no text; write it as JSON lines"),
    ],
)
def test_what_would_be_misread_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^[^\n]+$") as refused:
        list(read_documents([path]))
    assert reason in str(refused.value)


def test_a_json_file_may_be_one_object_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"text": "hello"}, indent=2))
    assert [document.text for document in read_documents([path])] == ["hello"]


def test_prompts_of_a_file_end_with_its_lines() -> None:
    assert split_lines("one\u2028still one\r\ntwo\x85still two\x0b also two\n", name="prompts.txt") == [
        "one\u2028still one",
        "two\x85still two\x0b also two",
        "",
    ]
    with pytest.raises(DataError, match=r"prompts\.txt: its lines end in carriage returns alone"):
        split_lines("one\rtwo\r", name="prompts.txt")


def test_a_text_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utf8, "LONGEST_TEXT", 1000)
    with pytest.raises(DataError, match="/dev/zero: more than 1000 bytes, too many"):
        utf8.read_text(Path("/dev/zero"))
