"""`nextword compare`: which of two models predicts a text better, by how much, and where."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    FieldArgument,
    HtmlArgument,
    SkipBadArgument,
    load_options,
)
from nextword.cli.colours import BETTER, WORSE, on_background, shown
from nextword.cli.console import ProgressLine, note_skipped, takes_colours
from nextword.cli.json_output import print_json

if TYPE_CHECKING:
    from nextword.workflows.compare import Difference

_HELP = "A catalogue name, a Hugging Face folder, a .gguf file, an adapter's folder, or hf:owner/name."


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare how well two models predict a text: nextword compare MODEL_A MODEL_B FILE. The first is the baseline."""

    model_a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL_A", help=_HELP)]
    model_b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL_B", help=_HELP)]
    file: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="FILE", help="A file or folder: .txt, .md, .jsonl, .json, .parquet, or these compressed."
        ),
    ]
    context: int | None = None
    """Tokens of a window; None: as many as both models attend to. Windows overlap by half."""
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: both models' figures, the difference, and where it is largest."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print the figures, a verdict, and the tokens where the models differ most."""
    from nextword.workflows.compare import compare

    with ProgressLine() as line:
        result = compare(
            options.model_a,
            options.model_b,
            options.file,
            context=options.context,
            field=options.field,
            skip_bad=options.skip_bad,
            html=options.html,
            on_progress=line.update,
            **load_options(options.compute),
        )
    note_skipped(result.num_bad, result.first_bad)
    if options.json:
        print_json(result.to_json())
    else:
        print(result.to_text(_coloured if takes_colours(sys.stdout) else _plain))


def _plain(difference: Difference) -> str:
    from nextword.workflows.compare import in_brackets

    return shown(in_brackets(difference))


def _coloured(difference: Difference) -> str:
    """Return the end of the text before a token, then the token: green where B is less surprised, red where more."""
    from nextword.workflows.compare import text_before

    colour = BETTER if difference.nats_b < difference.nats_a else WORSE
    return shown(text_before(difference)) + on_background(difference.text.replace("\n", " "), colour)
