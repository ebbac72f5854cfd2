"""The command `nextword`: a table of verbs, each with its options and its function, opened only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from nextword import __version__
from nextword.cli.console import complain, is_rank_zero, note
from nextword.cli.streams import discard_output, open_streams
from nextword.errors import NextwordError, RequestError


@dataclass(frozen=True)
class Verb:
    """One command: `Options` and `run` of the module nextword.cli.verbs.<name>, with _ for -."""

    name: str
    summary: str


GROUPS = {
    "Use a model": (
        Verb("generate", "continue a prompt"),
        Verb("chat", "talk with a model"),
        Verb("summarize", "summarise a text of any length"),
        Verb("classify", "choose a label for each text of a file"),
        Verb("serve", "answer requests over HTTP, in the form of OpenAI's API"),
    ),
    "Look inside": (
        Verb("lab", "open a page that shows how each token is drawn"),
        Verb("next", "show the distribution of the next token"),
        Verb("score", "show how probable each token of a text is"),
        Verb("surprise", "show the surprisal of each token of a text"),
        Verb("tokenize", "show the tokens of a text"),
    ),
    "Train": (
        Verb("pretrain", "train a new model on text"),
        Verb("finetune", "train a model further, on text or chats"),
        Verb("merge", "merge an adapter into its model"),
        Verb("tokenizer", "train a tokenizer"),
        Verb("prepare", "tokenize a corpus for training"),
        Verb("data", "show examples for supervised training"),
    ),
    "Measure": (
        Verb("perplexity", "measure how well a model predicts texts"),
        Verb("compare", "compare how well two models predict a text"),
        Verb("evaluate", "measure a model on tasks of lm-eval"),
        Verb("rouge", "compare summaries with reference summaries by ROUGE"),
        Verb("decoding-report", "compare texts of several decoding strategies"),
    ),
    "Models": (
        Verb("models", "list the models on this machine"),
        Verb("pull", "download a model"),
        Verb("export", "write a model as GGUF or as a Hugging Face folder"),
    ),
    "Shell": (Verb("completion", "print a script for the shell's Tab completion"),),
}
"""The verbs under the headings of the help."""
VERBS = tuple(verb for verbs in GROUPS.values() for verb in verbs)

_OTHERS_WORDS = {
    "complete": "generate",
    "download": "pull",
    "eval": "evaluate",
    "fine-tune": "finetune",
    "info": "models",
    "list": "models",
    "ls": "models",
    "ppl": "perplexity",
    "predict": "next",
    "quantize": "export",
    "run": "chat",
    "show": "models",
    "tokenise": "tokenize",
    "train": "pretrain",
}
"""Verbs of other programs -> ours, where the nearest spelling would mislead."""
_TAKES_RECIPES = ("pretrain", "finetune")
"""Verbs among whose arguments a YAML file stands for the flags in it."""


def main() -> None:
    """Run the command line of this process; exit with 0, with 2 after a `NextwordError`, with 130 after Ctrl-C."""
    open_streams()
    if not is_rank_zero():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # numpy's BLAS, which is not used here, would start a spinning thread for each core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.showwarning = lambda message, *where: note(" ".join(str(message).split()))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code."""
    code = 0
    try:
        _dispatch(arguments)
        sys.stdout.flush()
    except NextwordError as error:
        complain(str(error))
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of the pipe, such as head, has closed it
        discard_output()
    try:
        sys.stdout.flush()
    except (NextwordError, OSError):  # it was said above
        discard_output()
    return code


def _dispatch(arguments: Sequence[str]) -> None:
    first, *others = arguments or ["--help"]
    if first == "help":
        first, others = (others[0], ["--help"]) if others else ("--help", [])
    if first in ("-h", "--help"):
        print(_help())
    elif first == "--version":
        print(_version())
    else:
        _run_verb(first, others)


def _run_verb(name: str, arguments: Sequence[str]) -> None:
    if name not in [verb.name for verb in VERBS]:
        raise RequestError(f"unknown command {name!r}: {_suggestion(name)}nextword --help lists all")
    from nextword.cli.parsing import parse_options

    module = importlib.import_module(f"nextword.cli.verbs.{name.replace('-', '_')}")
    if name in _TAKES_RECIPES:
        from nextword.cli.recipe_file import with_recipe_files

        arguments = with_recipe_files(arguments)
    options = parse_options(module.Options, arguments, prog=f"nextword {name}")
    if options is not None:
        module.run(options)


def _suggestion(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, [verb.name for verb in VERBS], n=1, cutoff=0.7)
    found = [_OTHERS_WORDS[name]] if name in _OTHERS_WORDS else near
    return f"did you mean {found[0]!r}? " if found else ""


def _version() -> str:
    """Describe this installation: its C++ core, and the optional libraries that are installed."""
    import importlib.metadata

    from nextword.native import native_status

    try:
        torch = importlib.metadata.version("torch")  # without importing it
    except importlib.metadata.PackageNotFoundError:
        torch = "not installed; training needs it: pip install 'nextword[train]'"
    return f"nextword {__version__}\n{native_status()}\nPyTorch: {torch}"


def _help() -> str:
    width = max(len(verb.name) for verb in VERBS)
    lines = ["usage: nextword COMMAND [--help] ..."]
    for heading, verbs in GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {verb.name:<{width}}  {verb.summary}" for verb in verbs)]
    lines += ["", "  --version  --help", "", "MODEL: a name, folder or file, or hf:owner/name"]
    return "\n".join(lines)
