"""The command `nextword`: a table of verbs, each with its options and its function, opened only when it is called."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from nextword import __version__
from nextword.errors import NextwordError


@dataclass(frozen=True)
class Verb:
    """Where a verb lives: `Options` and `run` of nextword.cli.<name>."""

    name: str
    summary: str


VERBS = (
    Verb("generate", "continue a prompt"),
    Verb("chat", "talk with a model"),
    Verb("summarize", "summarise a text of any length"),
    Verb("next", "show the distribution of the next token"),
    Verb("score", "show how probable each token of a text is"),
    Verb("tokenize", "show the tokens of a text"),
    Verb("models", "list the models that can be named"),
    Verb("pull", "fetch a model"),
)


def main() -> None:
    """The entry point: exits with 0, with 2 for an error that has a message for people, with 130 after Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"nextword {__version__}")
        return 0
    try:
        return _run_verb(arguments[0], list(arguments[1:]))
    except NextwordError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run_verb(name: str, arguments: list[str]) -> int:
    if name not in [verb.name for verb in VERBS]:
        near = difflib.get_close_matches(name, [verb.name for verb in VERBS], n=1, cutoff=0.0)
        return _complain(f"unknown command {name!r}: did you mean {near[0]!r}? nextword --help lists all")
    import tyro

    module = importlib.import_module(f"nextword.cli.{name}")
    options = tyro.cli(module.Options, args=arguments, prog=f"nextword {name}")
    module.run(options)
    return 0


def _complain(message: str) -> int:
    is_red = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    start, end = ("\033[31m", "\033[0m") if is_red else ("", "")
    print(f"{start}nextword: {message}{end}", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(len(verb.name) for verb in VERBS)
    lines = [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS]
    return "\n".join(
        [
            "usage: nextword COMMAND [--help] ...",
            "",
            *lines,
            "",
            "  --version  --help",
            "",
            "MODEL: a name, folder or file",
        ]
    )
