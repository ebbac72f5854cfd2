"""`nextword prepare`: a corpus in, token shards for training out."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import CorpusArgument, FieldArgument, OutputArgument, Reader, SkipBadArgument
from nextword.cli.console import ProgressLine, count, note
from nextword.data.selection import SelectionOptions

if TYPE_CHECKING:
    from nextword.data.prepare import PrepareReport

SelectionArguments = Annotated[SelectionOptions, tyro.conf.arg(name="")]
_DEFAULT_SELECTION = SelectionOptions()


@dataclasses.dataclass(frozen=True)
class Options:
    """Turn a corpus into tokens for training: nextword prepare CORPUS... --tokenizer MODEL -o DIR.

    Run again after an interruption, it goes on where it stopped.
    """

    corpus: CorpusArgument
    tokenizer: Annotated[str, tyro.conf.arg(metavar="MODEL")]
    """A model (a name, folder or .gguf file) or a folder that nextword tokenizer train wrote."""
    output: OutputArgument
    """Folder for the tokens and a copy of the tokenizer: all that training needs."""
    selection: SelectionArguments = _DEFAULT_SELECTION
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: what was read, left out, and written."""


def run(options: Options) -> None:
    """Write the folder with progress on a terminal, then print what became of the documents."""
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_tokenizer
    from nextword.cli.json_output import print_json
    from nextword.data.prepare import prepare_corpus

    reader = Reader(options.corpus, field=options.field, skip_bad=options.skip_bad)
    try:
        with preparing() as show:
            report = prepare_corpus(
                options.corpus,
                open_tokenizer(resolve(options.tokenizer)),
                Path(options.output),
                field=options.field,
                selection=options.selection,
                on_bad=reader.bad.on_bad,
                on_progress=show,
            )
    except KeyboardInterrupt:
        note("interrupted: the same command goes on where this one stopped")
        raise
    reader.note_skipped()
    if options.json:
        print_json({"output": options.output, **dataclasses.asdict(report)})
    else:
        _print_report(report)


def _print_report(report: PrepareReport) -> None:
    if report.num_tokens == report.num_resumed:
        print(f"{report.num_tokens:,} tokens: complete and intact, nothing was left to do")
        return
    selection = report.selection
    documents = "document" if selection.num_kept == 1 else "documents"
    print(f"{report.num_tokens:,} tokens of {selection.num_kept:,} {documents}")
    for reason, number in sorted(selection.left_out.items()):
        print(f"{number:,} of {selection.num_read:,} left out: {reason}")
    if report.num_resumed:
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
