"""`nextword compare`: which of two models predicts a text better, by how much, and where."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, FieldArgument, Reader, SkipBadArgument, load_model
from nextword.cli.colours import BETTER, WORSE, on_background, shown
from nextword.cli.console import ProgressLine, takes_colours
from nextword.html.plots import require_page

if TYPE_CHECKING:
    from nextword.evaluation.compare import Comparison, Difference

_HELP = "A catalogue name, a Hugging Face folder, a .gguf file, an adapter's folder, or hf:owner/name."
_SHOWN_BEFORE = 40
"""Characters before a token."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare how well two models predict a text: nextword compare MODEL_A MODEL_B FILE. The first is what to beat."""

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
    html: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write a page with plots, too."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print the figures, a verdict, and the tokens where the models differ most."""
    from nextword.evaluation.compare import compare_models
    from nextword.workflows.compare_page import write_compare_page

    require_page(options.html)
    names = options.model_a, options.model_b
    a, b = (load_model(name, options.compute) for name in names)
    reader = Reader((options.file,), field=options.field, skip_bad=options.skip_bad)
    with ProgressLine() as line:
        comparison = compare_models(
            a.engine,
            b.engine,
            reader.documents(),
            context=options.context,
            on_progress=lambda comparison: line.show(f"{comparison.num_pieces:,} pieces"),
        )
    reader.note_skipped()
    if options.json:
        _print_json(comparison, names)
    else:
        _print(comparison, names)
    if options.html is not None:
        title = f"{names[0]} and {names[1]} on {options.file}"
        write_compare_page(Path(options.html), comparison, names=names, title=title)


def _print(comparison: Comparison, names: tuple[str, str]) -> None:
    print(f"A      {comparison.bits_per_byte_a:7.4f} bits/byte  {names[0]}")
    print(f"B      {comparison.bits_per_byte_b:7.4f} bits/byte  {names[1]}")
    spread = ""
    if comparison.interval is not None:
        units, resamples = comparison.units
        low, high = comparison.interval.low, comparison.interval.high
        spread = f"  95 %: {low:+.4f} to {high:+.4f}, over {resamples.num_units:,} {units}"
    print(f"B - A  {comparison.difference:+7.4f} bits/byte{spread}\n{comparison.verdict}")
    if comparison.mean_divergence is not None and comparison.agreement is not None:
        print(f"KL divergence of B from A: {comparison.mean_divergence:.4f} nats/token")
        print(f"the same most probable token: {comparison.agreement:.1%} of {comparison.num_pieces:,}")
    if comparison.differences:
        print("\n A nats   B nats  where they differ most")
    for difference in comparison.differences:
        print(f"{difference.nats_a:7.3f}  {difference.nats_b:7.3f}  {_in_context(difference)}")


def _in_context(difference: Difference) -> str:
    """The end of what stands before, then the token, green where B knew better, red where worse; all on one line."""
    before = shown(" ".join(difference.before[-_SHOWN_BEFORE:].split("\n")))
    if not takes_colours(sys.stdout):
        return f"{before}[{shown(difference.text.replace(chr(10), ' '))}]"
    colour = BETTER if difference.nats_b < difference.nats_a else WORSE
    return before + on_background(difference.text.replace("\n", " "), colour)


def _print_json(comparison: Comparison, names: tuple[str, str]) -> None:
    from nextword.cli.json_output import print_json

    interval = comparison.interval
    units, resamples = comparison.units
    print_json(
        {
            "models": names,
            "bits_per_byte": [comparison.bits_per_byte_a, comparison.bits_per_byte_b],
            "difference": comparison.difference,
            "interval": None if interval is None else [interval.low, interval.high],
            "units": units,
            "num_units": resamples.num_units,
            "verdict": comparison.verdict,
            "num_bytes": comparison.num_bytes,
            "num_documents": comparison.num_documents,
            "has_same_vocabulary": comparison.has_same_vocabulary,
            "divergence": comparison.mean_divergence,
            "agreement": comparison.agreement,
            "differences": [dataclasses.asdict(difference) for difference in comparison.differences],
        }
    )
