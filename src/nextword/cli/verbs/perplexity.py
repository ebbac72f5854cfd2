"""`nextword perplexity`: how well a model predicts texts, counted in the way of each tool. Textbook section 4."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    FieldArgument,
    FilesArgument,
    HtmlArgument,
    ModelArgument,
    Reader,
    SkipBadArgument,
    load_model,
)
from nextword.cli.console import ProgressLine, count, note
from nextword.errors import DataError, RequestError
from nextword.html.plots import require_page

if TYPE_CHECKING:
    from nextword.cli.perplexity_report import Measured
    from nextword.evaluation.conventions import Convention
    from nextword.evaluation.perplexity_accumulator import PerplexityAccumulator
    from nextword.language_model import LanguageModel
    from nextword.workflows.resumable_run import ResumableRun


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure how well a model predicts texts: nextword perplexity MODEL FILE... A file of records has many documents.

    Run again after an interruption, it goes on where it stopped.
    """

    model: ModelArgument
    files: FilesArgument
    convention: Literal["sliding", "llama.cpp", "lm-eval", "all"] = "sliding"
    """Which tokens are scored, and with how much context: as transformers' documentation, llama.cpp or lm-eval do."""
    context: int | None = None
    """Tokens of a window; None: as many as the model attends to, for llama.cpp 512."""
    stride: int | None = None
    """Of sliding windows, tokens from one to the next; None: the context, so that they do not overlap."""
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: a report for each convention, with its documents."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Measure by one convention or all, then print a line for each document and each convention."""
    from nextword.cli.perplexity_report import print_json_reports, print_reports, write_html

    require_page(options.html)
    with contextlib.ExitStack() as kept:
        found = _measure_all(options, kept)
        if options.json:
            print_json_reports(found)
        else:
            print_reports(found)
        if options.html is not None:
            write_html(Path(options.html), found, title=f"Perplexity of {options.model} on {', '.join(options.files)}")
    found[0].reader.note_skipped()


def _measure_all(options: Options, kept: contextlib.ExitStack) -> list[Measured]:
    """What each convention found. Raises the first's error if none found anything."""
    from nextword.evaluation.conventions import CONVENTION_NAMES, choose_convention

    if not options.files:
        raise RequestError("no FILE: name files or folders with text")
    model = load_model(options.model, options.compute)
    is_all = options.convention == "all"
    found: list[Measured] = []
    for name in CONVENTION_NAMES if options.convention == "all" else (options.convention,):
        stride = options.stride if name == "sliding" or not is_all else None
        max_seq_len = model.engine.backend.max_seq_len
        convention = choose_convention(name, context=options.context, stride=stride, max_seq_len=max_seq_len)
        found.append(_measure(model, convention, options, kept))
    problems = [one.problem for one in found if one.problem is not None]
    if len(problems) == len(found):
        raise problems[0]
    return found


def _measure(model: LanguageModel, convention: Convention, options: Options, kept: contextlib.ExitStack) -> Measured:
    """One convention's report, or what kept it from one. What it keeps on the disk goes with `kept`."""
    from nextword.cli.perplexity_report import Measured
    from nextword.evaluation.perplexity import measure_perplexity

    reader = Reader(options.files, field=options.field, skip_bad=options.skip_bad)
    run = kept.enter_context(_open_run(convention, options))
    if run.resumed is not None:
        note(f"{count(run.resumed.num_windows, 'window')} of {convention.name} were scored by the run before")
    try:
        with _progress_line(convention.name, run) as show:
            report = measure_perplexity(
                model.engine,
                reader.documents(),
                convention,
                resume_from=run.resumed,
                skip_short=options.skip_bad,
                on_document=run.on_document,
                on_progress=show,
            )
    except KeyboardInterrupt:
        note("interrupted: the same command goes on where this one stopped")
        raise
    except RequestError as problem:
        return Measured(convention, None, reader, run, problem)
    return Measured(convention, report, reader, run, None)


def _open_run(convention: Convention, options: Options) -> ResumableRun:
    """The run that is kept under these files, model and settings. Raises DataError if the disk refuses."""
    from nextword.checkpoints.catalogue import cache_folder, resolve
    from nextword.data.files import find_files
    from nextword.workflows.resumable_run import ResumableRun, fingerprint

    model = resolve(options.model)
    adapter = [] if options.compute.adapter is None else [Path(options.compute.adapter)]
    parts = [part for path in (model, *adapter) for part in (sorted(path.iterdir()) if path.is_dir() else [path])]
    settings = [dataclasses.asdict(convention), options.field, options.skip_bad, dataclasses.asdict(options.compute)]
    name = fingerprint([*parts, *find_files(options.files)], settings)
    try:
        return ResumableRun(cache_folder() / "perplexity" / name)
    except OSError as error:
        raise DataError(f"{cache_folder()}: cannot keep what is measured: {error.strerror}") from None


@contextlib.contextmanager
def _progress_line(name: str, run: ResumableRun) -> Iterator[Callable[[PerplexityAccumulator], None]]:
    """Save the run now and then, and show on a terminal how much has been scored."""
    start = time.perf_counter()
    num_before = 0 if run.resumed is None else run.resumed.num_scored
    with ProgressLine() as line:

        def show(accumulator: PerplexityAccumulator) -> None:
            run.on_progress(accumulator)
            speed = (accumulator.num_scored - num_before) / (time.perf_counter() - start)
            figures = f"{speed:,.0f} tokens/s, so far {accumulator.nats_per_token:.3f} nats/token"
            line.show(f"{name}: {accumulator.num_scored:,} tokens, {figures}")

        yield show
