"""`nextword perplexity`: how well a model predicts texts, by the convention of each tool. Textbook section 4."""

from __future__ import annotations

import dataclasses
from typing import Literal

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    FieldArgument,
    FilesArgument,
    HtmlArgument,
    ModelArgument,
    SkipBadArgument,
    load_options,
)
from nextword.cli.console import ProgressLine, note, note_skipped


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure how well a model predicts texts: nextword perplexity MODEL FILE... A file of records has many documents.

    Run again after an interruption, it resumes.
    """

    model: ModelArgument
    files: FilesArgument
    convention: Literal["sliding", "llama.cpp", "lm-eval", "all"] = "sliding"
    """Tool whose rule for cutting texts into windows to follow; sliding is that of transformers' documentation."""
    context: int | None = None
    """Tokens of a window; None: as many as the model attends to, for llama.cpp 512."""
    stride: int | None = None
    """Tokens from one sliding window to the next; None: the context, so that they do not overlap."""
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: a report for each convention, with its documents."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Measure by one convention or all, then print a line for each document and each convention."""
    from nextword.workflows.perplexity import perplexity

    try:
        with ProgressLine() as line:
            result = perplexity(
                options.model,
                options.files,
                convention=options.convention,
                context=options.context,
                stride=options.stride,
                field=options.field,
                skip_bad=options.skip_bad,
                html=options.html,
                on_progress=line.update,
                **load_options(options.compute),
            )
    except KeyboardInterrupt:
        note("interrupted: run the same command again to resume")
        raise
    for remark in result.notes:
        note(remark)
    note_skipped(result.num_bad, result.first_bad)
    if options.json:
        for piece in result.json_pieces():
            print(piece, end="")
        print()
    else:
        print(result)
