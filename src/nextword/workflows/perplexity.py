"""`perplexity`: how well a model predicts files of text, by one convention or all; an interrupted run resumes.

Textbook section 4.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack

from nextword.checkpoints.catalogue import cache_folder, resolve
from nextword.checks import checked_arguments
from nextword.data.documents import read_documents
from nextword.data.files import find_files
from nextword.data.records import BadRecords
from nextword.errors import DataError, RequestError, os_reason
from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.conventions import CONVENTION_NAMES, Convention, ConventionName, choose_convention
from nextword.evaluation.perplexity import PerplexityReport, measure_perplexity
from nextword.evaluation.perplexity_accumulator import PerplexityAccumulator, Sums
from nextword.html.plots import require_page
from nextword.language_model import LanguageModel
from nextword.plain_text import count, text_table
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.paths import Files, list_files
from nextword.workflows.perplexity_tables import COLUMNS, DOCUMENT_COLUMNS, convention_row, document_row
from nextword.workflows.progress import OnProgress, Progress, ignore_progress
from nextword.workflows.resumable_run import Journal, ResumableRun, fingerprint


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConventionResult:
    """Perplexity by one convention, or the reason why there is none."""

    convention: Convention
    """Name, context and stride."""
    report: PerplexityReport | None
    """All figures, or None if there is a problem."""
    problem: str | None
    """None if there is a report."""
    documents: Journal = dataclasses.field(repr=False)
    """Place and sums of each document; iterate over it."""
    num_resumed: int = 0
    """Windows that an earlier, interrupted run had scored."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePerplexity:
    """Perplexity of files under a model; `print` shows a table of the documents and one of the conventions."""

    model: str
    """Name or path of the model."""
    files: tuple[str, ...]
    """Files and folders that were read."""
    results: tuple[ConventionResult, ...]
    """One for each convention; at least one has a report."""
    num_bad: int = 0
    """Records left out because they cannot be read."""
    first_bad: str | None = None
    """Message about the first of them."""

    @property
    def report(self) -> PerplexityReport:
        """The report of the first convention that has one."""
        return self.reports[0]

    @property
    def reports(self) -> tuple[PerplexityReport, ...]:
        """The reports of all conventions that have one."""
        return tuple(one.report for one in self.results if one.report is not None)

    def __repr__(self) -> str:
        names = ", ".join(one.convention.name for one in self.results)
        return f"FilePerplexity({self.model!r} on {count(len(self.files), 'file')}, {names})"

    def __str__(self) -> str:
        parts = [
            f"{one.convention.name}\n{text_table(DOCUMENT_COLUMNS, [document_row(*row) for row in one.documents])}\n\n"
            for one in self.results
            if one.report is not None and one.report.num_documents > 1
        ]
        problems = [f"\n{one.convention.name}: {one.problem}" for one in self.results if one.problem is not None]
        return "".join([*parts, text_table(COLUMNS, [convention_row(report) for report in self.reports]), *problems])

    def _repr_html_(self) -> str:
        from nextword.html.notebook import table_block

        return table_block(COLUMNS, [convention_row(report) for report in self.reports])

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how the figures were made."""
        resumed = (
            f"{count(one.num_resumed, 'window')} of {one.convention.name} were scored by the run before"
            for one in self.results
            if one.num_resumed
        )
        return (*resumed, *(remark for report in self.reports for remark in _remarks(report)))

    def json_pieces(self) -> Iterator[str]:
        """Yield JSON of all figures and documents, which are read from disk one by one, however many."""
        yield '{"reports": ['
        for number, one in enumerate(self.results):
            yield ", " if number else ""
            if one.report is None:
                yield json.dumps({**_settings_json(one.convention), "problem": one.problem})
                continue
            yield json.dumps(_report_json(one.report))[:-1] + ', "documents": ['
            for index, (place, sums) in enumerate(one.documents):
                yield (", " if index else "") + json.dumps({"place": place, **_sums_json(sums)})
            yield "]}"
        yield f'], "num_unreadable": {self.num_bad}}}'

    def to_json(self) -> Mapping[str, object]:
        """Return plain values of all figures and documents."""
        found: dict[str, object] = json.loads("".join(self.json_pieces()))
        return found


@checked_arguments
def perplexity(
    model: ModelSource,
    files: Files,
    *,
    convention: Literal[ConventionName, "all"] = "sliding",
    context: int | None = None,
    stride: int | None = None,
    field: str = "text",
    skip_bad: bool = False,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> FilePerplexity:
    """Measure how well a model predicts files of text; a file of records has many documents.

    After an interruption the same call resumes, if the model is given by its name or path.
    `model`: name, path or loaded model; further keywords are those of `load`. `files`: a file, a folder, or several:
    .txt, .md, .jsonl, .json, .parquet; all but the last also compressed. `convention`: tool whose rule for cutting
    texts into windows to follow. `context`: tokens of a window; None: the model's context, for llama.cpp 512. `stride`:
    of sliding windows; None: no overlap. `field`: field of a record that holds the text. `skip_bad`: leave out and
    count bad records and documents too short to score. `html`: file for a page with plots. `on_progress` is called
    during scoring. Raises RequestError if no convention finds a token to score, DataError, and as `load`.
    """
    require_page(html)
    paths = list_files(files)
    opened = open_model(model, on_progress, **loading)
    with contextlib.ExitStack() as runs:
        measure = _Measurement(opened, model, paths, field, skip_bad, loading, on_progress, runs)
        result = measure.all(_conventions(convention, context, stride, opened))
        if html is not None:
            from nextword.workflows.perplexity_page import write_perplexity_page

            write_perplexity_page(html, result)
    return result


def _conventions(name: str, context: int | None, stride: int | None, model: LanguageModel) -> Iterator[Convention]:
    names: Sequence[ConventionName] = CONVENTION_NAMES if name == "all" else (name,)  # type: ignore[assignment]
    for one in names:
        of_one = stride if one == "sliding" or name != "all" else None
        max_seq_len = model.engine.backend.max_seq_len
        yield choose_convention(one, context=context, stride=of_one, max_seq_len=max_seq_len)


@dataclasses.dataclass(frozen=True)
class _Measurement:
    """The arguments that all conventions share. Runs are closed, and their folders deleted, with `runs`."""

    opened: LanguageModel
    model: ModelSource
    paths: Sequence[str]
    field: str
    skip_bad: bool
    loading: LoadOptions
    on_progress: OnProgress
    runs: contextlib.ExitStack

    def all(self, conventions: Iterable[Convention]) -> FilePerplexity:
        """Measure by several conventions. Raises the RequestError of the first if none has a report."""
        counts = []
        results = []
        for convention in conventions:
            counts.append(BadRecords(skip=self.skip_bad))
            results.append(self.one(convention, counts[-1]))
        if all(result.report is None for result in results):
            raise RequestError(results[0].problem or "")
        return FilePerplexity(
            model=name_of(self.model),
            files=tuple(self.paths),
            results=tuple(results),
            num_bad=counts[0].num_bad,
            first_bad=counts[0].first,
        )

    def one(self, convention: Convention, bad: BadRecords) -> ConventionResult:
        """Measure by one convention. Raises DataError for records that cannot be read."""
        run = self.runs.enter_context(ResumableRun(self._folder(convention)))
        report, problem = None, None
        try:
            report = measure_perplexity(
                self.opened.engine,
                read_documents(self.paths, field=self.field, on_bad=bad.on_bad),
                convention,
                resume_from=run.resumed,
                skip_short=self.skip_bad,
                on_document=run.on_document,
                on_progress=self._reporter(convention.name, run),
            )
        except RequestError as error:
            problem = str(error)
        return ConventionResult(
            convention=convention,
            report=report,
            problem=problem,
            documents=run.journal(),
            num_resumed=0 if run.resumed is None else run.resumed.num_windows,
        )

    def _folder(self, convention: Convention) -> Path:
        """Return the folder of the run, the same for the same call. Raises DataError if writing fails."""
        try:
            if isinstance(self.model, LanguageModel):  # its files are unknown, so its run cannot be resumed
                return Path(self.runs.enter_context(tempfile.TemporaryDirectory()))
            adapter = self.loading.get("adapter")
            parents = [resolve(str(self.model)), *([] if adapter is None else [Path(adapter)])]
            parts = [part for path in parents for part in (sorted(path.iterdir()) if path.is_dir() else [path])]
            settings = [dataclasses.asdict(convention), self.field, self.skip_bad, dict(self.loading)]
            folder = cache_folder() / "perplexity" / fingerprint([*parts, *find_files(self.paths)], settings)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{cache_folder()}: cannot keep what is measured: {os_reason(error)}") from None
        return folder

    def _reporter(self, name: str, run: ResumableRun) -> Callable[[PerplexityAccumulator], None]:
        """Return a callback that saves the run now and then, and reports how much has been scored."""
        start = time.perf_counter()
        num_before = 0 if run.resumed is None else run.resumed.num_scored

        def report(accumulator: PerplexityAccumulator) -> None:
            run.on_progress(accumulator)
            done = accumulator.num_scored
            speed = (done - num_before) / (time.perf_counter() - start)
            figures = f"{speed:,.0f} tokens/s, so far {accumulator.nats_per_token:.3f} nats/token"
            line = f"{name}: {done:,} tokens, {figures}"
            self.on_progress(Progress(f"tokens scored, {name}", done, line=line))

        return report


# ---- as text ----


def _remarks(report: PerplexityReport) -> Iterator[str]:
    name = report.convention.name
    if report.num_too_short:
        yield f"{name}: {count(report.num_too_short, 'document')} too short to score left out"
    if report.sums.word_perplexity is not None:
        yield f"{name}: {report.sums.word_perplexity:.4f} a word, {report.sums.byte_perplexity:.4f} a byte"
    if report.nats_interval is not None:
        yield f"{name}: intervals over {report.num_units:,} {report.interval_units}"


# ---- as JSON ----


def _settings_json(convention: Convention) -> dict[str, object]:
    return {"convention": convention.name, "context": convention.context, "stride": convention.stride}


def _report_json(report: PerplexityReport) -> dict[str, object]:
    return {
        **_settings_json(report.convention),
        **_sums_json(report.sums),
        "intervals": {
            "units": report.interval_units,
            "num_units": report.num_units,
            "nats_per_token": _pair(report.nats_interval),
            "perplexity": _pair(report.perplexity_interval),
            "bits_per_byte": _pair(report.bits_interval),
        },
        "num_documents": report.num_documents,
        "num_too_short": report.num_too_short,
        "num_windows": report.num_windows,
    }


def _sums_json(sums: Sums) -> dict[str, object]:
    """Return the fields and the figures; None for what is no number."""
    names = ["total_nats", "num_tokens", "num_bytes", "nats_per_token", "perplexity", "bits_per_byte"]
    if sums.num_words is not None:
        names += ["num_words", "word_perplexity", "byte_perplexity"]
    return {name: _finite(getattr(sums, name)) for name in names}


def _pair(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_finite(interval.low), _finite(interval.high)]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
