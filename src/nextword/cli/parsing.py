"""Parse the arguments of a command line into a verb's options; report an error as one line."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

import tyro

from nextword.cli.console import takes_colours
from nextword.cli.forms import Form, flag_of
from nextword.errors import RequestError

T = TypeVar("T")

_RULE = re.compile(r"^[─-]{8,}$", flags=re.MULTILINE)
_RENAMED = {"--skip-unreadable": "--skip-bad"}
"""Flags of earlier versions, and their names now."""
_NESTED = " " * 8
"""Indentation of the help on an option in the parser's messages; their own lines have less."""


def parse_options(options_class: type[T], words: Sequence[str], *, prog: str) -> T | None:
    """Return the options that the arguments give; None if they ask for help, which is printed.

    Raises RequestError for arguments that are missing, unknown or of the wrong type.
    """
    _refuse_renamed(words)
    if not any(word in ("-h", "--help") or word.startswith("--tyro-") for word in words):
        with contextlib.suppress(_UnfilledError):
            return _filled(options_class, words, prog, is_whole=False)
    try:
        return _filled(options_class, words, prog, is_whole=True)
    except _UnfilledError as complaint:
        if not str(complaint):
            return None
        raise RequestError(f"{_one_line(str(complaint))} ({prog} --help lists all options)") from None


class _UnfilledError(Exception):
    """The form is not filled: the library ended with this complaint; without one if it printed what was asked for."""


def _filled(options_class: type[T], words: Sequence[str], prog: str, *, is_whole: bool) -> T:
    form = Form(options_class, words, is_whole=is_whole)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _plain_output():
            filled: object = tyro.cli(form.type, args=words, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as end:
        raise _UnfilledError(complaint.getvalue() if end.code else "") from None
    options: T = form.options(filled)
    return options


def _refuse_renamed(words: Sequence[str]) -> None:
    for word in words:
        if (flag := flag_of(word)) in _RENAMED:
            raise RequestError(f"{flag} is now {_RENAMED[flag]}")


class _Plain(io.StringIO):
    """In-memory output that is no terminal, so gets no colours, but has the encoding of `stream`."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


@contextlib.contextmanager
def _plain_output() -> Iterator[None]:
    """Suppress colours where they are not allowed: the library checks for a terminal, but not NO_COLOR."""
    stdout = sys.stdout
    if takes_colours(stdout):
        yield
        return
    plain = _Plain(stdout.encoding)
    try:
        with contextlib.redirect_stdout(plain):
            yield
    finally:
        stdout.write(plain.getvalue())


def _one_line(complaint: str) -> str:
    """Return the first part of a complaint, which the library draws as a box, and the first flag it suggests."""
    is_framed = complaint.startswith("╭")  # without box characters in the terminal's encoding the title is a part, too
    lines = [line[2:].rstrip(" │") for line in complaint.splitlines() if not line.startswith(("╭", "╰"))]
    problem, *others = _RULE.split("\n".join(lines))[0 if is_framed else 1 :]
    words = " ".join(line.strip() for line in problem.splitlines() if not line.startswith(_NESTED))
    near = [re.search(r"--[\w-]+", other) for other in others if "Perhaps you meant" in other]
    return words.strip(" .") + (f"; did you mean {near[0][0]}?" if near and near[0] else "")
