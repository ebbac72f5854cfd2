"""Arguments that several verbs share: the model and how it is computed, texts, files of records, outputs.

Each has its type, its words for `--help`, and the function that reads what it names.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from nextword.cli.console import ProgressLine, note
from nextword.errors import RequestError
from nextword.inference.backend import BackendName, Weights
from nextword.tasks.classify_options import ClassifyOptions

if TYPE_CHECKING:
    from nextword.language_model import LanguageModel
    from nextword.workflows.loading import LoadOptions

_TEXT_FILES = "Files and folders: .txt, .md, .jsonl, .json, .parquet; all but the last also as .gz and .zst."

ModelArgument = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="MODEL", help="A catalogue name, a Hugging Face folder, a .gguf file, or hf:owner/name."),
]
TextArgument = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT", help="The text; without it, or for -, standard input.")
]
PromptArgument = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="PROMPT",
        help="The text to continue; without it, or for -, standard input without its last line end.",
    ),
]
FilesArgument = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FILE [FILE ...]", help=_TEXT_FILES)
]
"""Texts to measure a model on."""
CorpusArgument = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CORPUS [CORPUS ...]", help=_TEXT_FILES)
]
"""Texts to train on."""
OutputArgument = Annotated[str, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
"""Folder to write."""
FieldArgument = Annotated[str, tyro.conf.arg(help="Field of a record that holds the text.")]
SkipBadArgument = Annotated[
    bool, tyro.conf.arg(help="Leave out and count records that cannot be read, instead of ending with an error.")
]
SettingArgument = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(help='A decoding strategy: greedy, or parameters as in "temperature=0.7 top_p=0.9"; repeatable.'),
]
LengthArgument = Annotated[
    Literal["short", "medium", "long"],
    tyro.conf.arg(help="Up to 2 (short), 5 (medium) or 10 (long) sentences or bullet points."),
]
StyleArgument = Annotated[Literal["paragraph", "bullets"], tyro.conf.arg(help="Running text or bullet points.")]
SpecialArgument = Annotated[
    bool,
    tyro.conf.arg(name="special", help="Read control tokens written in the text, such as <|im_start|>, as tokens."),
]
"""`parse_special` in Python."""
ClassifyArguments = Annotated[ClassifyOptions, tyro.conf.arg(name="")]
DEFAULT_CLASSIFY = ClassifyOptions()
AmateurArgument = Annotated[
    str | None,
    tyro.conf.arg(metavar="MODEL", help="Smaller model with the same tokens, for contrastive decoding."),
]
AdapterArguments = Annotated[
    tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="adapter", metavar="NAME=DIR")
]
"""`adapters` in Python, by `named_folders`."""
HtmlArgument = Annotated[str | None, tyro.conf.arg(metavar="FILE", help="Also write a page with plots.")]


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """Options of computing with any model."""

    backend: BackendName = "auto"
    """native: our own C++; torch: PyTorch; auto: native where it was built."""
    weights: Weights = "auto"
    """Number format to compute with: floats, or blocks with 8 or 4 bits each; auto: as in the file, where possible."""
    num_threads: Annotated[int | None, tyro.conf.arg(name="threads")] = None
    """Cores to use; None: all."""
    speculation: bool = True
    """Verify several guessed tokens in one step where that is faster; the text is the same with and without."""
    draft_model: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Small model of the same vocabulary that guesses tokens, too."""


DEFAULT_ENGINE = EngineOptions()


@dataclasses.dataclass(frozen=True)
class ComputeOptions:
    """Options of computing with one model."""

    adapter: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of an adapter (LoRA, DoRA, IA3; peft's format) to merge into the model."""
    engine: EngineOptions = DEFAULT_ENGINE


ComputeArguments = Annotated[ComputeOptions, tyro.conf.arg(name="")]
DEFAULT_COMPUTE = ComputeOptions()


def engine_options(engine: EngineOptions) -> LoadOptions:
    """Return the options as keywords of `nextword.load` and of functions that load a model."""
    return cast("LoadOptions", {field.name: getattr(engine, field.name) for field in dataclasses.fields(engine)})


def load_options(compute: ComputeOptions) -> LoadOptions:
    """Return the options as keywords of `nextword.load` and of functions that load a model."""
    return {"adapter": compute.adapter, **engine_options(compute.engine)}


def catalogue_names() -> tuple[str, ...]:
    """Return the names that `nextword pull` knows."""
    from nextword.checkpoints.catalogue import known_names

    return known_names()


def load_model(name: str, compute: ComputeOptions, *, amateur: str | None = None) -> LanguageModel:
    """Load a model; a terminal shows that it is being loaded. Raises as `nextword.load`."""
    from nextword.workflows.loading import load_with_progress

    options = load_options(compute)
    options["amateur"] = amateur
    with ProgressLine() as line:
        return load_with_progress(name, line.update, **options)


def named_folders(arguments: Sequence[str]) -> dict[str, str]:
    """Return folders by name from arguments of the form NAME=DIR. Raises RequestError for another, or a name twice."""
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name and equals and folder):
            raise RequestError(f"--adapter {argument!r}: must be NAME=DIR")
        if name in found:
            raise RequestError(f"--adapter {argument!r}: {name!r} is the name of {found[name]!r}, too; give it another")
        found[name] = folder
    return found


_STDIN = "standard input"


def read_text(source: str) -> str:
    """Read the file of that name, or standard input for "-". Raises RequestError or DataError if it is not text."""
    from nextword.data.utf8 import read_text, read_text_stream

    if source != "-":
        return read_text(Path(source))
    if sys.stdin.isatty():
        note(f"reading {_STDIN}: Ctrl-D ends it")
    return read_text_stream(sys.stdin.buffer, name=_STDIN)


def lines_from_stdin() -> list[str]:
    """Read the lines of standard input. Raises as `read_text`."""
    from nextword.data.utf8 import split_lines

    return split_lines(read_text("-"), name=_STDIN)


def text_or_stdin(text: str) -> str:
    """Return the text itself, or standard input for "-"."""
    return read_text("-") if text == "-" else text


def prompt_or_stdin(prompt: str) -> str:
    """Return the prompt itself, or standard input for "-", without the line end that `echo` and editors add."""
    return read_text("-").removesuffix("\n").removesuffix("\r") if prompt == "-" else prompt
