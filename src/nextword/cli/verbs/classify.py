"""`nextword classify`: texts in; the label of each out, with accuracy where true labels are known."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_CLASSIFY,
    DEFAULT_COMPUTE,
    ClassifyArguments,
    ComputeArguments,
    HtmlArgument,
    ModelArgument,
    SkipBadArgument,
    load_options,
)
from nextword.cli.console import ProgressLine, note_skipped
from nextword.cli.json_output import print_result


@dataclasses.dataclass(frozen=True)
class Options:
    """Choose a label for each text of a file, by the likelihood of the label's words."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """.tsv with text and label, or .jsonl, .json, .parquet with such fields; labels may be missing."""
    labels: Annotated[str, tyro.conf.arg(metavar="WORD,WORD")]
    """The labels, with commas between them; positive=1,negative=0 where the file says 1 and 0."""
    examples: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """A file of texts with labels to show the model first."""
    choice: ClassifyArguments = DEFAULT_CLASSIFY
    text_field: str = "text"
    """Field of a record that holds the text."""
    label_field: str = "label"
    """Field of a record that holds the true label."""
    limit: int | None = None
    """Most texts to read."""
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: figures, and the prediction for each text."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print the accuracy, or the predictions where no true labels are known."""
    from nextword.workflows.classify import classify

    with ProgressLine() as line:
        result = classify(
            options.model,
            options.file,
            labels=options.labels,
            examples=options.examples,
            **dataclasses.asdict(options.choice),
            text_field=options.text_field,
            label_field=options.label_field,
            limit=options.limit,
            skip_bad=options.skip_bad,
            html=options.html,
            on_progress=line.update,
            **load_options(options.compute),
        )
    note_skipped(result.num_bad, result.first_bad)
    print_result(result, as_json=options.json, page=options.html)
