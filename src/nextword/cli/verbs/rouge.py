"""`nextword rouge`: texts with reference summaries in; ROUGE of a model's summaries by decoding strategy out."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Literal

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    HtmlArgument,
    LengthArgument,
    ModelArgument,
    SettingArgument,
    SkipBadArgument,
    load_options,
)
from nextword.cli.console import ProgressLine, note, note_skipped
from nextword.cli.json_output import print_result


@dataclasses.dataclass(frozen=True)
class Options:
    """Summarise texts and compare with reference summaries by ROUGE."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """.jsonl, .json or .parquet with texts and summaries."""
    setting: SettingArgument = ()
    limit: int | None = None
    """Maximum number of texts to read."""
    length: LengthArgument = "short"
    text_field: str = "dialogue"
    """Field of a record that holds the text."""
    summary_field: str = "summary"
    """Field of a record that holds the summary."""
    seed: int = 0
    """Makes sampling reproducible."""
    words: Literal["english", "unicode"] | None = None
    """Words that ROUGE compares: English ones, stemmed, or those of any script; by default the references decide."""
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: figures, and every summary."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each setting: mean F1 with 95 % intervals, times 100."""
    from nextword.workflows.rouge import rouge

    start = time.perf_counter()
    with ProgressLine() as line:
        result = rouge(
            options.model,
            options.file,
            setting=options.setting,
            limit=options.limit,
            length=options.length,
            text_field=options.text_field,
            summary_field=options.summary_field,
            seed=options.seed,
            words=options.words,
            skip_bad=options.skip_bad,
            html=options.html,
            on_progress=line.update,
            **load_options(options.compute),
        )
    note_skipped(result.num_bad, result.first_bad)
    for remark in result.notes:
        note(remark)
    print_result(result, as_json=options.json, page=options.html)
    note(f"{len(result.reports)} x {len(result.texts)} summaries in {time.perf_counter() - start:.1f} s")
