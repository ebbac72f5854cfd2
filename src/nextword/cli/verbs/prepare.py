"""`nextword prepare`: a corpus in, token shards for training out."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import CorpusArgument, FieldArgument, OutputArgument, SkipBadArgument
from nextword.cli.console import ProgressLine, count, note, note_skipped
from nextword.workflows.prepare import DEFAULT_SELECTION, SelectionOptions, prepare

if TYPE_CHECKING:
    from nextword.workflows.prepare import PrepareReport

SelectionArguments = Annotated[SelectionOptions, tyro.conf.arg(name="")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Turn a corpus into tokens for training: nextword prepare CORPUS... --tokenizer MODEL -o DIR.

    Run again after an interruption, it resumes.
    """

    corpus: CorpusArgument
    tokenizer: Annotated[str, tyro.conf.arg(metavar="MODEL")]
    """A model (a name, folder or .gguf file) or a folder that nextword tokenizer train wrote."""
    output: OutputArgument
    """Folder for the tokens and a copy of the tokenizer, as training reads it."""
    selection: SelectionArguments = DEFAULT_SELECTION
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: counts of what was read, left out, and written."""


def run(options: Options) -> None:
    """Write the folder with progress on a terminal, then print how many documents were kept or left out."""
    from nextword.cli.json_output import print_json

    try:
        with preparing() as show:
            prepared = prepare(
                options.corpus,
                tokenizer=options.tokenizer,
                output=options.output,
                field=options.field,
                skip_bad=options.skip_bad,
                selection=options.selection,
                on_progress=show,
            )
    except KeyboardInterrupt:
        note("interrupted: run the same command again to resume")
        raise
    report = prepared.report
    note_skipped(report.num_unreadable, prepared.first_bad)
    if options.json:
        print_json({"output": options.output, **dataclasses.asdict(report)})
        return
    print(prepared)
    if 0 < report.num_resumed < report.num_tokens:
        note(f"{count(report.num_resumed, 'token')} were there from the run before")


@contextlib.contextmanager
def preparing() -> Iterator[Callable[[PrepareReport], None]]:
    """Show on a terminal how much of a corpus has been prepared."""
    start = time.perf_counter()
    with ProgressLine() as line:

        def show(report: PrepareReport) -> None:
            speed = (report.num_tokens - report.num_resumed) / (time.perf_counter() - start)
            tokens = f"{report.num_tokens:,} tokens, {speed:,.0f} tokens/s"
            line.show(f"{report.selection.num_read:,} documents, {tokens}")

        yield show
