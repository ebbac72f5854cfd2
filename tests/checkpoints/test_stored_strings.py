"""Lists of strings in GGUF files: read when they are asked for, cut into pairs, refused when the file has changed."""

import os
from pathlib import Path

import gguf
import pytest

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.reader import read_gguf
from nextword.checkpoints.gguf.stored_strings import StoredStrings
from nextword.errors import CheckpointError
from nextword.native import native

pytestmark = pytest.mark.skipif(native is None, reason="the C++ core reads them")

STRINGS = ["a b", "\N{GREEK SMALL LETTER OMEGA} ab", "a  b", "alone", ""]
TOKENS = ["a", "b", "ab", "\N{GREEK SMALL LETTER OMEGA}", "five5"]


@pytest.fixture
def stored(tmp_path: Path) -> StoredStrings:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_array("strings", STRINGS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    strings = read_gguf(tmp_path / "x.gguf").metadata["strings"]
    assert isinstance(strings, StoredStrings)
    return strings


def test_they_are_the_strings_of_the_file(stored: StoredStrings) -> None:
    assert stored.read() == STRINGS
    assert repr(stored) == repr(STRINGS)


def test_a_value_of_any_type_is_a_plain_list(stored: StoredStrings, tmp_path: Path) -> None:
    metadata = GGUFMetadata({"strings": stored, "numbers": [1, 2]}, tmp_path / "x.gguf")
    assert metadata.value("strings") == metadata.texts("strings") == STRINGS
    assert metadata.stored_texts("strings") is stored
    for read in (metadata.texts, metadata.stored_texts):
        with pytest.raises(CheckpointError, match=r"x\.gguf: numbers is \[1, 2\]; expected a list of texts"):
            read("numbers")


def test_they_are_cut_at_the_first_space_as_by_partition(stored: StoredStrings) -> None:
    lefts, rights, are_short = stored.split(TOKENS)
    assert list(zip(lefts, rights, strict=True)) == [string.partition(" ")[::2] for string in STRINGS]
    assert are_short  # "alone" is as long as "five5"
    assert not stored.split(TOKENS[:-1])[2]
    assert all(part is TOKENS[TOKENS.index(part)] for part in lefts + rights if part in TOKENS)


@pytest.mark.parametrize("old_and_new", [(b"alone", b"alon\xff"), (b"\x05" + bytes(7) + b"alone", b"\xff" * 8)])
def test_a_file_that_has_changed_is_refused(
    stored: StoredStrings, tmp_path: Path, old_and_new: tuple[bytes, bytes]
) -> None:
    path = tmp_path / "x.gguf"
    old, new = old_and_new
    place = path.read_bytes().index(old)
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(new)
    for is_noticed_by_its_time in (True, False):
        if not is_noticed_by_its_time:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        for read in (stored.read, lambda: stored.split(TOKENS)):
            with pytest.raises(CheckpointError, match="changed while" if is_noticed_by_its_time else "load it again"):
                read()
