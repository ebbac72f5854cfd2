"""A small corpus, the tiny model of the command's tests, and the command."""

from pathlib import Path

import pytest

from tests.cli.conftest import command, tiny

__all__ = ["command", "corpus", "tiny"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that a tiny model learns in a few steps."""
    path = tmp_path_factory.mktemp("corpus") / "cats.txt"
    path.write_text("the cat sat on the mat and the dog sat on the cat\n" * 40)
    return path
