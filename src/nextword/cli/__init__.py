"""The command `nextword`: a table of verbs, each with its options and its function, opened only when it is called."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from nextword import __version__
from nextword.cli.console import complain, is_rank_zero, note
from nextword.errors import NextwordError, RequestError


@dataclass(frozen=True)
class Verb:
    """Where a verb lives: `Options` and `run` of nextword.cli.verbs.<name>, with _ for -."""

    name: str
    summary: str


VERBS = (
    Verb("generate", "continue a prompt"),
    Verb("chat", "talk with a model"),
    Verb("summarize", "summarise a text of any length"),
    Verb("next", "show the distribution of the next token"),
    Verb("score", "show how probable each token of a text is"),
    Verb("classify", "choose a label for each text of a file"),
    Verb("perplexity", "measure how well a model predicts texts"),
    Verb("surprise", "show how surprised a model is by each token of a text"),
    Verb("compare", "compare how well two models predict a text"),
    Verb("evaluate", "measure a model on tasks of lm-eval"),
    Verb("rouge", "compare summaries with those of people"),
    Verb("decoding-report", "show what ways of decoding do to texts"),
    Verb("tokenize", "show the tokens of a text"),
    Verb("tokenizer", "train a tokenizer"),
    Verb("prepare", "turn a corpus into tokens for training"),
    Verb("data", "show examples for supervised training"),
    Verb("pretrain", "train a model from nothing"),
    Verb("finetune", "train a model further, on text or chats"),
    Verb("merge", "merge an adapter into its model"),
    Verb("export", "write a model as GGUF or as a Hugging Face folder"),
    Verb("models", "list the models that are here"),
    Verb("pull", "fetch a model"),
    Verb("completion", "print a script for the shell's Tab key"),
)

_TAKES_RECIPES = ("pretrain", "finetune")
"""Verbs among whose arguments a YAML file stands for the flags in it."""


def main() -> None:
    """The entry point: exits with 0, with 2 for an error that has a message for people, with 130 after Ctrl-C."""
    _agree_on_text()
    if not is_rank_zero():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # numpy's matrix library, which is not used here, would start a thread for each core, and they spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.showwarning = lambda message, *where: note(" ".join(str(message).split()))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        _dispatch(arguments)
        sys.stdout.flush()
    except NextwordError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        _discard_output()
    return 0


def _dispatch(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
    elif arguments[0] == "--version":
        print(f"nextword {__version__}")
    else:
        _run_verb(arguments[0], arguments[1:])


def _run_verb(name: str, arguments: Sequence[str]) -> None:
    if name not in [verb.name for verb in VERBS]:
        near = difflib.get_close_matches(name, [verb.name for verb in VERBS], n=1, cutoff=0.0)
        raise RequestError(f"unknown command {name!r}: did you mean {near[0]!r}? nextword --help lists all")
    from nextword.cli.parsing import parse_options

    module = importlib.import_module(f"nextword.cli.verbs.{name.replace('-', '_')}")
    if name in _TAKES_RECIPES:
        from nextword.cli.recipe_file import with_recipe_files

        arguments = with_recipe_files(arguments)
    options = parse_options(module.Options, arguments, prog=f"nextword {name}")
    if options is not None:
        module.run(options)


def _agree_on_text() -> None:
    """Read UTF-8 whatever the locale says; write what the terminal can show, and "?" for what it cannot."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Let what is still buffered go nowhere, else Python complains when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


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
            "MODEL: a name, folder or file, or hf:owner/name",
        ]
    )
