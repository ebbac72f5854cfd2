"""Preparing a corpus: the tokens that are written, interruptions, and damage."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextword.data import prepare
from nextword.data.documents import read_documents
from nextword.data.prepare import PrepareReport, prepare_corpus
from nextword.data.selection import SelectionOptions, SelectionReport, select
from nextword.data.shards import TokenShards
from nextword.errors import ConfigError, DataError
from nextword.text.tokenizer_folder import load_tokenizer_folder
from tests.data.byte_tokenizer import END, byte_tokenizer

TEXTS = [f"document {number}: {'x' * (number % 7)}é" for number in range(50)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.jsonl", TEXTS)


def write_corpus(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def expected_tokens(texts: list[str]) -> list[int]:
    return [token_id for text in texts for token_id in [*text.encode(), END]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_document_is_its_tokens_and_the_end_token(corpus: Path, tmp_path: Path) -> None:
    report = prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d", shard_tokens=100)
    shards = TokenShards(tmp_path / "d")
    assert shards.read(0, shards.num_tokens).tolist() == expected_tokens(TEXTS)
    assert [shards.read(end - 1, end).item() for end in shards.document_ends] == [END] * 50
    assert len(shards.header.shards) > 5
    assert report.num_tokens == shards.num_tokens
    assert (report.selection.num_read, report.selection.num_kept) == (50, 50)


def test_parts_are_read_across_shards(corpus: Path, tmp_path: Path) -> None:
    prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d", shard_tokens=30)
    shards, expected = TokenShards(tmp_path / "d"), expected_tokens(TEXTS)
    for start in range(0, shards.num_tokens, 17):
        stop = min(start + 100, shards.num_tokens)
        assert shards.read(start, stop).tolist() == expected[start:stop]


def test_bos_begins_documents_where_the_model_wants_it_and_not_their_later_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_LONGEST_PIECE", 10)
    (tmp_path / "long.txt").write_text("a long text of some pieces\n")
    (tmp_path / "short.txt").write_text("short")
    prepare_corpus([tmp_path], byte_tokenizer(add_bos=True), tmp_path / "d")
    shards = TokenShards(tmp_path / "d")
    expected = [END, *b"a long text of some pieces\n", END, END, *b"short", END]
    assert shards.read(0, shards.num_tokens).tolist() == expected
    assert shards.document_ends.tolist() == [29, 36]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_an_interrupted_run_goes_on_to_the_same_bytes(corpus: Path, tmp_path: Path, stop_after: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = SelectionOptions(deduplicate="exact", min_characters=13)
    prepare_corpus([corpus], byte_tokenizer(), whole, selection=options, shard_tokens=100)

    def interrupt(report: PrepareReport) -> None:
        if report.num_tokens >= 150 * stop_after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_BATCH_TEXTS", 3)
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus([corpus], byte_tokenizer(), cut, selection=options, shard_tokens=100, on_progress=interrupt)
    with pytest.raises(DataError, match="not complete"):
        TokenShards(cut)
    report = prepare_corpus([corpus], byte_tokenizer(), cut, selection=options, shard_tokens=100)
    assert report.num_resumed > 0
    assert contents(cut) == contents(whole)


_KILLED = """
import sys
from nextword.data.prepare import prepare_corpus
from pathlib import Path
from tests.data.byte_tokenizer import byte_tokenizer
prepare_corpus([sys.argv[1]], byte_tokenizer(), Path(sys.argv[2]), shard_tokens=100_000)
"""


@pytest.mark.slow
@pytest.mark.parametrize("num_shards", [0, 1, 7])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, num_shards: int) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", [f"{number} {'x' * 900}" for number in range(3000)])
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(corpus), str(folder)])
    while process.poll() is None and not (folder / f"shard-{num_shards:05d}.tokens").exists():
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not json.loads((folder / "tokens.json").read_text())["is_complete"]
    (folder / ".shard.partial").touch()
    prepare_corpus([corpus], byte_tokenizer(), folder, shard_tokens=100_000)
    prepare_corpus([corpus], byte_tokenizer(), tmp_path / "whole", shard_tokens=100_000)
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_complete_folder_is_checked_and_kept(corpus: Path, tmp_path: Path) -> None:
    prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")
    before = contents(tmp_path / "d")
    report = prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")
    assert report.num_resumed == report.num_tokens > 0
    assert contents(tmp_path / "d") == before
    damaged = tmp_path / "d" / "shard-00000.tokens"
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"\0\0")
    with pytest.raises(DataError, match="another checksum"):
        prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")


def test_a_file_of_another_size_is_refused_before_it_is_read(corpus: Path, tmp_path: Path) -> None:
    prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")
    damaged = tmp_path / "d" / "shard-00000.tokens"
    damaged.write_bytes(damaged.read_bytes()[:-2])
    with pytest.raises(DataError, match="bytes instead of"):
        TokenShards(tmp_path / "d")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"format": "other"}', "prepare the corpus again"),
        ('{"format": "nextword tokens 1", "shards": [{"size": 3}]}', "damaged"),
        (
            '{"format": "nextword tokens 1", "shards": [], "dtype": "uint16", "tokenizer": "", "source": "",'
            ' "num_pieces": null}',
            "whole numbers",
        ),
        (
            '{"format": "nextword tokens 1", "shards": [], "dtype": "int8", "tokenizer": "", "source": ""}',
            "dtype 'int8'",
        ),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(DataError, match=reason):
        TokenShards(tmp_path)


def test_a_folder_of_something_else_is_not_touched(corpus: Path, tmp_path: Path) -> None:
    prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")
    with pytest.raises(DataError, match="another corpus, tokenizer or selection"):
        prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d", selection=SelectionOptions(min_letters=0.5))
    with pytest.raises(DataError, match="exists and holds no tokens"):
        prepare_corpus([corpus], byte_tokenizer(), tmp_path)
    with pytest.raises(DataError, match=r"corpus\.jsonl: exists and is no folder"):
        prepare_corpus([corpus], byte_tokenizer(), corpus)


def test_the_tokenizer_lies_in_the_folder(corpus: Path, tmp_path: Path) -> None:
    prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")
    loaded = load_tokenizer_folder(tmp_path / "d" / "tokenizer")
    assert loaded.fingerprint == byte_tokenizer().fingerprint == TokenShards(tmp_path / "d").header.tokenizer


def test_what_gives_no_tokens_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no end-of-sequence token"):
        prepare_corpus([corpus], byte_tokenizer(has_end=False), tmp_path / "d")
    for _ in range(2):  # the second time too
        with pytest.raises(DataError, match="no document remains"):
            prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d", selection=SelectionOptions(min_characters=999))


def test_unreadable_records_are_counted(corpus: Path, tmp_path: Path) -> None:
    corpus.write_text("oops\n" + corpus.read_text())
    with pytest.raises(DataError, match="jsonl:1"):
        prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d")
    told: list[DataError] = []
    report = prepare_corpus([corpus], byte_tokenizer(), tmp_path / "d", on_bad=told.append)
    assert report.num_unreadable == len(told) == 1
    assert report.selection.num_kept == 50


def kept(tmp_path: Path, texts: list[str], **options: object) -> tuple[list[str], dict[str, int]]:
    report = SelectionReport()
    path = write_corpus(tmp_path / "texts.jsonl", texts)
    chosen = select(read_documents([path]), SelectionOptions(**options), report)  # type: ignore[arg-type]
    return [document.text for document in chosen], dict(report.left_out)


def test_length_and_letters_are_bounds_with_a_count_each(tmp_path: Path) -> None:
    texts = ["", "abc", "ab 12 34 56", "abcdefghijklmnop", "größer"]
    found = kept(tmp_path, texts, min_characters=3, max_characters=12, min_letters=0.5)
    assert found == (["abc", "größer"], {"too short": 1, "too few letters": 1, "too long": 1})


def test_exact_copies_are_left_out(tmp_path: Path) -> None:
    assert kept(tmp_path, ["a", "b", "a", "A"], deduplicate="exact") == (["a", "b", "A"], {"duplicate": 1})


def test_near_copies_are_left_out_and_others_stay(tmp_path: Path) -> None:
    words = [f"word{number * number % 101}" for number in range(300)]
    changed = [*words[:150], "another", *words[151:]]
    half = [*words[:150], *(f"other{number}" for number in range(150))]
    texts = [" ".join(part) for part in (words, changed, half)]
    texts.append(texts[0].upper() + "!")
    assert kept(tmp_path, texts, deduplicate="near") == ([texts[0], texts[2]], {"duplicate": 2})


def test_texts_that_share_seven_of_ten_groups_of_words_stay(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(400)]
    texts = [" ".join(words)]
    for variant in range(30):  # 14 words changed, far from each other, change 70 of 396 groups of five
        texts.append(" ".join(f"new{variant}" if place % 28 == variant % 28 else w for place, w in enumerate(words)))
    assert kept(tmp_path, texts, deduplicate="near") == (texts, {})


def test_the_pieces_of_a_long_text_go_with_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("short\n\n" + "1234567 " * 9)
    (tmp_path / "b.txt").write_text("1234567 " * 9 + "some letters")
    report = SelectionReport()
    pieces = read_documents([tmp_path / "a.txt", tmp_path / "b.txt"], longest_piece=10)
    texts = [document.text for document in select(pieces, SelectionOptions(min_letters=0.5), report)]
    assert "".join(texts) == (tmp_path / "a.txt").read_text()
    assert (report.num_read, report.num_kept) == (2, 1)


@pytest.mark.parametrize("options", [{"min_characters": -1}, {"max_characters": 0}, {"min_letters": 1.1}])
def test_impossible_bounds_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        SelectionOptions(**options)  # type: ignore[arg-type]
