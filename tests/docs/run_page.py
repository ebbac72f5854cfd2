"""Follow a page as a reader would, and say where it does not tell the truth.

Snippets of a page share their names. `nextword` runs in this process, other programs of a pipe beside it, and what ends
with & until the page does; `make` only
says what it would do, since its targets install things and run all tests.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from nextword.cli import run
from tests.docs.compare import matches
from tests.docs.page import Step, read_steps


@dataclass(frozen=True)
class _Outcome:
    printed: str
    """Standard output."""
    terminal: str
    """Standard output and standard error as they came."""
    exit_code: int


def find_lies(path: Path) -> list[str]:
    """What the page shows and what really happened, for each step where they differ."""
    with contextlib.ExitStack() as background:
        return _find_lies(path, background)


def _find_lies(path: Path, background: contextlib.ExitStack) -> list[str]:
    names: dict[str, object] = {"__name__": "__main__"}
    lies = []
    for step in read_steps(path.read_text(encoding="utf-8")):
        if step.kind == "command" and step.source.endswith(" &"):
            outcome = _start(step.source, background)
        else:
            outcome = _run_command(step.source) if step.kind == "command" else _run_snippet(step, path, names)
        if not _is_told(step, outcome):
            lies.append(
                f"{path}:{step.line}: {step.source}\n--- shown\n{step.shown}\n"
                f"--- real, exit code {outcome.exit_code}\n{outcome.terminal}\n"
            )
    return lies


def _is_told(step: Step, outcome: _Outcome) -> bool:
    """A page may show all that a terminal shows or standard output alone; 2 is the exit code of a refusal."""
    expected_code = 2 if "nextword: " in step.shown and step.kind == "command" else 0
    is_shown = not step.shown or matches(step.shown, outcome.printed) or matches(step.shown, outcome.terminal)
    return is_shown and outcome.exit_code == expected_code


def _start(command: str, background: contextlib.ExitStack) -> _Outcome:
    """Start a server, which runs until the page ends; it says one line when it is ready."""
    words = [sys.executable, "-m", *shlex.split(command.removesuffix(" &"))]
    process = background.enter_context(subprocess.Popen(words, stderr=subprocess.PIPE, text=True))
    background.callback(process.terminate)
    assert process.stderr is not None
    line = process.stderr.readline()
    return _Outcome("", line, 0)


def _run_snippet(step: Step, path: Path, names: dict[str, object]) -> _Outcome:
    code = compile("\n" * (step.line - 1) + step.source, str(path), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, names)
        except Exception:
            return _Outcome(printed.getvalue(), printed.getvalue() + traceback.format_exc(), 1)
    return _Outcome(printed.getvalue(), printed.getvalue(), 0)


def _run_command(command: str) -> _Outcome:
    """A pipe of programs; the exit code is that of the first that failed."""
    terminal = io.StringIO()
    given, exit_code = "", 0
    *before, last = _programs(command)
    for words in before:
        printed = io.StringIO()
        exit_code = exit_code or _run_program(words, given, printed, terminal)
        given = printed.getvalue()
    printed = _Recorder(terminal)
    exit_code = exit_code or _run_program(last, given, printed, terminal)
    return _Outcome(printed.getvalue(), terminal.getvalue(), exit_code)


def _programs(command: str) -> list[list[str]]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    programs: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            programs.append([])
        else:
            programs[-1].append(word)
    return programs


def _run_program(words: list[str], given: str, printed: TextIO, noted: TextIO) -> int:
    if words[0] == "nextword":
        return _run_nextword(words[1:], given, printed, noted)
    if words[0] == "make":
        words = ["make", "--dry-run", *words[1:]]
    elif words[0] == "python":
        words = [sys.executable, *words[1:]]
    elif words[0] == "torchrun":
        words = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
    done = subprocess.run(words, input=given, capture_output=True, text=True)
    printed.write(done.stdout)
    noted.write(done.stderr)
    return done.returncode


def _run_nextword(arguments: list[str], given: str, printed: TextIO, noted: TextIO) -> int:
    standard_input, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(given.encode()), "utf-8")
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(noted):
            return run(arguments)
    except SystemExit as end:  # an unknown option
        return int(end.code or 0)
    finally:
        sys.stdin = standard_input


class _Recorder(io.StringIO):
    """Keeps what is written, and writes it into a record shared with another stream."""

    def __init__(self, shared: io.StringIO) -> None:
        super().__init__()
        self._shared = shared

    def write(self, text: str) -> int:
        """As a stream does."""
        self._shared.write(text)
        return super().write(text)
