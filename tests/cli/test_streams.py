"""A standard stream that is closed, or whose disk is full, costs one line and exit code 2 at most."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import NEXTWORD

CLOSED = "nextword: standard output is closed: the result is incomplete\n"
FULL = "nextword: standard output cannot be written: No space left on device: the result is incomplete\n"


def run_in_shell(redirection: str, *arguments: str | Path, unbuffered: bool = False) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = "1"
    words = ["sh", "-c", f'exec "$@" {redirection}', "sh", *NEXTWORD, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stdout, done.stderr


def verbs(tiny: Path) -> list[tuple[str | Path, ...]]:
    """A command that prints at its end, one that prints as it goes, and help."""
    generate = ("generate", tiny, "a", "--max-tokens", "2", "--seed", "1")
    return [("tokenize", tiny, "hello"), generate, ("pull", "--help")]


@pytest.mark.parametrize("number", range(3))
def test_output_that_cannot_be_written_is_an_error(tiny: Path, number: int) -> None:
    arguments = verbs(tiny)[number]
    assert run_in_shell(">&-", *arguments) == (2, "", CLOSED)
    assert run_in_shell(">/dev/full", *arguments) == (2, "", FULL)
    assert run_in_shell(">/dev/full", *arguments, unbuffered=True) == (2, "", FULL)


def test_messages_that_cannot_be_written_change_nothing(tiny: Path) -> None:
    arguments = verbs(tiny)[1]
    code, out, _ = run_in_shell("", *arguments)
    assert code == 0
    assert out
    assert run_in_shell("2>&-", *arguments) == (0, out, "")
    assert run_in_shell("2>/dev/full", *arguments) == (0, out, "")
    assert run_in_shell("2>&-", "nosuch") == (2, "", "")


@pytest.mark.parametrize("arguments", [("tokenize", "-"), ("chat",)])
def test_input_that_is_closed_is_an_error(tiny: Path, arguments: tuple[str, ...]) -> None:
    verb, *others = arguments
    closed = "nextword: standard input is closed; name a file, or pipe a text in\n"
    assert run_in_shell("<&-", verb, tiny, *others) == (2, "", closed)


def test_no_file_is_opened_under_the_number_of_a_closed_stream(tiny: Path) -> None:
    assert run_in_shell("<&- >&- 2>&-", *verbs(tiny)[0]) == (2, "", "")
