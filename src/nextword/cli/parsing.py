"""Words of a command line in, a verb's options out; what is wrong with them as one line."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from collections.abc import Iterator, Sequence
from typing import TypeVar

import tyro

from nextword.cli.console import takes_colours
from nextword.errors import RequestError

T = TypeVar("T")

_RULE = re.compile(r"^[─-]{8,}$", flags=re.MULTILINE)
_RENAMED = {"--skip-unreadable": "--skip-bad"}
"""Flags of earlier versions, and their names now."""
_NESTED = " " * 8
"""Help on an option is nested so deep in the parser's messages; their own words are not."""


def parse_options(options_class: type[T], arguments: Sequence[str], *, prog: str) -> T | None:
    """The options that the arguments ask for; None if they asked for help, which was printed.

    Raises RequestError for arguments that are missing, unknown or of the wrong kind.
    """
    _refuse_renamed(arguments)
    tyro._experimental_options["ansi_codes"] = takes_colours(sys.stdout)  # it knows terminals, but not NO_COLOR
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _defaults_trusted():
            return tyro.cli(options_class, args=arguments, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as end:
        if not end.code:
            return None
    raise RequestError(f"{_one_line(complaint.getvalue())} ({prog} --help lists all options)")


def _refuse_renamed(arguments: Sequence[str]) -> None:
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag in _RENAMED:
            raise RequestError(f"{flag} is now {_RENAMED[flag]}")


@contextlib.contextmanager
def _defaults_trusted() -> Iterator[None]:
    """Spare the parser the library that compares defaults with their types: mypy has done so, and the import takes
    three times as long as the parsing.
    """
    if "typeguard" in sys.modules:
        yield
        return
    trusting = types.ModuleType("typeguard")
    vars(trusting).update(check_type=lambda value, expected_type: value, TypeCheckError=TypeError)
    sys.modules["typeguard"] = trusting
    try:
        yield
    finally:
        del sys.modules["typeguard"]


def _one_line(complaint: str) -> str:
    """What the parser draws as a box of several parts: its first part, and the first option that it suggests."""
    is_framed = complaint.startswith("╭")  # else the terminal has no such characters, and the title is a part too
    lines = [line[2:].rstrip(" │") for line in complaint.splitlines() if not line.startswith(("╭", "╰"))]
    problem, *others = _RULE.split("\n".join(lines))[0 if is_framed else 1 :]
    words = " ".join(line.strip() for line in problem.splitlines() if not line.startswith(_NESTED))
    near = [re.search(r"--[\w-]+", other) for other in others if "Perhaps you meant" in other]
    return words.strip(" .") + (f"; did you mean {near[0][0]}?" if near and near[0] else "")
