"""`nextword decoding-report`: prompts in; repetition, diversity and perplexity by decoding strategy out."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    HtmlArgument,
    ModelArgument,
    SettingArgument,
    SpecialArgument,
    lines_from_stdin,
    load_options,
)
from nextword.cli.console import ProgressLine, note
from nextword.cli.json_output import print_result


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare decoding strategies by the repetition, diversity and perplexity of their texts."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROMPTS")]
    """A prompt on each line; - reads standard input."""
    setting: SettingArgument = ()
    samples: int = 4
    """Texts to sample after each prompt, at least two."""
    max_tokens: int = 128
    """Maximum number of tokens of a text."""
    limit: int | None = None
    """Maximum number of prompts to read."""
    references: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """File with a line for each prompt that a person has written after it: measured as another row."""
    seed: int = 0
    """Makes sampling reproducible."""
    parse_special: SpecialArgument = False
    json: bool = False
    """Print one JSON object: figures, and every text."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each setting."""
    from nextword.workflows.decoding_report import decoding_report

    start = time.perf_counter()
    with ProgressLine() as line:
        report = decoding_report(
            options.model,
            lines_from_stdin() if options.file == "-" else options.file,
            setting=options.setting,
            samples=options.samples,
            max_tokens=options.max_tokens,
            limit=options.limit,
            references=options.references,
            seed=options.seed,
            parse_special=options.parse_special,
            html=options.html,
            on_progress=line.update,
            **load_options(options.compute),
        )
    print_result(report, as_json=options.json, page=options.html)
    note(f"{report.num_texts} texts in {time.perf_counter() - start:.1f} s")
