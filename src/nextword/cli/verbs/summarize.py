"""`nextword summarize`: a file or standard input in, its summary out as it is generated."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    LengthArgument,
    ModelArgument,
    StyleArgument,
    load_model,
    read_text,
)
from nextword.cli.console import count, note, rate


@dataclasses.dataclass(frozen=True)
class Options:
    """Summarise a text of any length."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")] = "-"
    """The file with the text; - reads standard input."""
    length: LengthArgument = "medium"
    style: StyleArgument = "paragraph"
    json: bool = False
    """Print one JSON object at the end."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print the summary as it is generated; note parts, tokens and time on standard error."""
    from nextword.cli.json_output import print_json

    text = read_text(options.file)
    model = load_model(options.model, options.compute)
    start = time.perf_counter()
    summary = model.summarize(
        text,
        length=options.length,
        style=options.style,
        on_part=lambda part, num_parts: note(f"part {part} of {num_parts} summarised"),
        on_text=lambda piece: None if options.json else print(piece, end="", flush=True),
    )
    if options.json:
        print_json(dataclasses.asdict(summary))
    else:
        print()
    seconds = time.perf_counter() - start
    note(f"{options.model}: {count(summary.num_text_tokens, 'token')} read in {count(summary.num_parts, 'part')}")
    note(f"summary of {rate(summary.num_summary_tokens, seconds)}, reading included")
    if not summary.is_complete:
        note(f"cut off at its limit of tokens: --length {options.length} allows no more")
