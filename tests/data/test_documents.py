"""Reading corpora: every kind of file gives its texts, with places; damage names file and line."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from nextword.data import utf8
from nextword.data.documents import Document, _cut, read_documents
from nextword.errors import DataError, MissingExtraError


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_a_text_file_is_one_document_with_its_line_ends_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "first\r\n\r\nsecond\n")
    assert list(read_documents([path])) == [Document("first\r\n\r\nsecond\n", path, 1)]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfcaf\xc3\xa9")
    assert [document.text for document in read_documents([path])] == ["café"]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", lambda text: text.encode()),
        ("a.jsonl.gz", lambda text: gzip.compress(text.encode()) + gzip.compress(b"")),
        ("a.jsonl.zst", lambda text: zstandard.compress(text.encode()[:9]) + zstandard.compress(text.encode()[9:])),
    ],
)
def test_json_lines_give_a_document_a_line(tmp_path: Path, name: str, pack: Callable[[str], bytes]) -> None:
    path = write(tmp_path / name, pack(lines({"text": "one\ntwo"}) + "\n" + lines({"text": "three", "id": 3})))
    assert [(document.text, document.line) for document in read_documents([path])] == [("one\ntwo", 1), ("three", 3)]


def test_json_may_be_an_array_or_lines(tmp_path: Path) -> None:
    records = [{"story": "one"}, {"story": "two"}]
    array = write(tmp_path / "array.json", "\n " + json.dumps(records, indent=1))
    of_lines = write(tmp_path / "lines.json", "\n" + lines(*records))
    documents = list(read_documents([array, of_lines], field="story"))
    assert [(document.text, document.line) for document in documents] == [
        ("one", 1),
        ("two", 2),
        ("one", 2),
        ("two", 3),
    ]


def test_parquet_gives_a_document_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"text {number}" for number in range(2500)]
    parquet.write_table(pyarrow.table({"text": texts, "id": list(range(2500))}), path)
    documents = list(read_documents([path]))
    assert [document.text for document in documents] == texts
    assert documents[-1].place == f"{path}:2500"


def test_a_folder_gives_its_files_of_known_kinds_in_order(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "b")
    write(tmp_path / "a" / "c.md", "c")
    write(tmp_path / "a" / "d.txt.gz", gzip.compress(b"d"))
    write(tmp_path / "picture.png", b"\x89PNG")
    write(tmp_path / ".hidden" / "e.txt", "e")
    assert [document.text for document in read_documents([tmp_path])] == ["c", "d", "b"]


def test_a_folder_without_text_and_a_missing_file_are_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file in this folder ends in"):
        read_documents([tmp_path])
    with pytest.raises(DataError, match="no such file"):
        read_documents([write(tmp_path / "a.txt", "a"), tmp_path / "gone.txt"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "cut', "a.jsonl:2: not valid JSON"),
        ('["text"]', "a.jsonl:2: holds a list; expected an object"),
        ('{"body": "x"}', "a.jsonl:2: no field 'text'; the fields are body"),
        ('{"text": null}', "a.jsonl:2: field 'text' is not text but NoneType"),
        ('{"text": "\\ud800"}', "a.jsonl:2: character 0 of field 'text' is half a surrogate pair"),
        ("[" * 100_000, "a.jsonl:2: not valid JSON: nested too deeply"),
        (b'{"text": "\xff"}', "a.jsonl:2: not valid JSON: not UTF-8 text at byte 10"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path: Path, line: str | bytes, reason: str) -> None:
    bad = line if isinstance(line, bytes) else line.encode()
    path = write(tmp_path / "a.jsonl", b'{"text": "one"}\n' + bad + b'\n{"text": "three"}\n')
    with pytest.raises(DataError, match=reason):
        list(read_documents([path]))
    told: list[DataError] = []
    documents = list(read_documents([path], on_bad=told.append))
    assert [document.text for document in documents] == ["one", "three"]
    assert len(told) == 1


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utf8, "LONGEST_LINE", 20)
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\n' + '{"text": "' + "x" * 99)
    with pytest.raises(DataError, match="jsonl:2: a line of more than 20 bytes"):
        list(read_documents([path], on_bad=lambda error: None))


def test_a_text_file_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8 text at byte 3"):
        list(read_documents([path]))
    far = write(tmp_path / "b.txt", "é".encode() * (1 << 19) + b"\xc3")
    told: list[DataError] = []
    read = list(read_documents([far, write(tmp_path / "c.txt", "c")], on_bad=told.append))
    assert [document.text for document in read] == ["c"]
    assert str(told[0]).endswith(f"at byte {1 << 20}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt.gz", gzip.compress(b"text" * 99, mtime=0)[:-9]),
        ("a.txt.gz", b"no gzip"),
        ("a.txt.gz", gzip.compress(b"text" * 99, mtime=0)[:20] + b"\xff" * 30),
        ("a.jsonl.zst", b"no zstd at all"),
        ("a.parquet", b"no parquet"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=name):
        list(read_documents([path], on_bad=lambda error: None))


def test_a_long_text_comes_in_pieces_that_end_with_paragraphs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one two\nthree\n\nfour\nfive\n\nsix more")
    documents = list(read_documents([path], longest_piece=15))
    assert documents == [
        Document("one two\nthree\n\n", path, 1),
        Document("four\nfive\n\n", path, 4, continues=True),
        Document("six more", path, 7, continues=True),
    ]


def test_without_paragraphs_a_piece_ends_with_a_line_or_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "aaaa bbbb\ncc dddd eeee ffffffffffffff")
    pieces = [document.text for document in read_documents([path], longest_piece=11)]
    assert pieces == ["aaaa bbbb\n", "cc dddd ", "eeee ffffff", "ffffffff"]


@given(st.lists(st.text("a \n")), st.integers(1, 9))
def test_pieces_joined_are_the_text(blocks: list[str], longest: int) -> None:
    pieces = list(_cut(iter(blocks), longest))
    assert "".join(pieces) == "".join(blocks)
    assert all(0 < len(piece) <= longest for piece in pieces)


@pytest.mark.parametrize(("name", "package"), [("a.parquet", "pyarrow"), ("a.txt.zst", "zstandard")])
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python itself reads zstd")
def test_a_missing_extra_is_named(tmp_path: Path, name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: pip install 'nextword\[data\]'"):
        list(read_documents([write(tmp_path / name, "a")]))
