"""A file is whole or as it was, and nothing else is left beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nextword.atomic_file import partial_folder, write_atomically


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


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; from nextword.atomic_file import *; path = pathlib.Path(sys.argv[1]);"
        "file = write_atomically(path / 'file'); file.__enter__().write(b'half');"
        "folder = partial_folder(path / 'folder'); (folder.__enter__() / 'half').touch(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path]).returncode == 9
    (tmp_path / ".other.12345678.partial").touch()
    assert len(list(tmp_path.iterdir())) == 3
    with write_atomically(tmp_path / "file") as out:
        out.write(b"whole")
    with partial_folder(tmp_path / "folder") as folder:
        folder.rename(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.12345678.partial", "file", "folder"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from nextword.atomic_file import *; path = pathlib.Path(sys.argv[1]);"
        "file = write_atomically(path / 'file'); file.__enter__(); print(flush=True); sys.stdin.read();"
        "file.__exit__(None, None, None)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with write_atomically(tmp_path / "file") as out:
            out.write(b"ours")
        assert len(list(tmp_path.iterdir())) == 2
        other.communicate()
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert (tmp_path / "file").read_bytes() == b""
