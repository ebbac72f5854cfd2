"""A file is whole or as it was, and nothing else is left beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextword.atomic_file import write_atomically


def test_the_file_is_there_once_the_block_has_ended(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "file") as out:
        out.write(b"whole")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), write_atomically(tmp_path / "file") as out:
        out.write(b"half" * (1 // 0))
    assert (tmp_path / "file").read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with write_atomically(tmp_path / "link") as out:
        out.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"after"


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="no regular file"), write_atomically(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
