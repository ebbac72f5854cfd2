"""`rouge`: summarise texts by several decoding strategies, and compare with reference summaries."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Unpack

from nextword.checks import checked_arguments
from nextword.data.records import BadRecords
from nextword.data.summarised import SummarisedText, read_summarised
from nextword.decoding.params import SamplingParams
from nextword.decoding.settings import DecodingSetting, decoding_setting
from nextword.errors import DataError, RequestError
from nextword.evaluation.rouge_words import WORDS_IN_FULL, Words, words_of
from nextword.extras import needs_extra
from nextword.html.plots import require_page
from nextword.inference.engine import Engine
from nextword.plain_text import count, text_table
from nextword.tasks.summarize import Length, Summary, summarize_batch
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.progress import OnProgress, Progress, ignore_progress

if TYPE_CHECKING:
    from nextword.evaluation.rouge import RougeReport

SUMMARIZE = "summarize"
"""Setting that stands for what `summarize` does: the best of several candidates for each sentence."""
SETTINGS = (SUMMARIZE, "greedy", "temperature=0.7", "top_k=50", "top_p=0.9")
"""Settings that are compared where none is named."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RougeComparison:
    """ROUGE of a model's summaries for several decoding strategies; `print` shows a table."""

    columns: ClassVar = ("decoding", "ROUGE-1", "95 %", "ROUGE-2", "95 %", "ROUGE-L", "95 %", "words", "texts")
    """Head of the table."""
    model: str
    """Name or path of the model."""
    file: str
    """File of the texts."""
    reports: Mapping[str, RougeReport]
    """Figures by decoding strategy."""
    texts: tuple[SummarisedText, ...] = dataclasses.field(repr=False)
    """Texts with their reference summaries."""
    summaries: Mapping[str, tuple[str, ...]] = dataclasses.field(repr=False)
    """The model's summaries, one for each text, by decoding strategy."""
    num_split: Mapping[str, int]
    """Number of texts beyond the context, which were summarised in parts, by decoding strategy."""
    num_bad: int = 0
    """Records left out because they cannot be read."""
    first_bad: str | None = None
    """Message about the first of them."""

    def __repr__(self) -> str:
        return f"RougeComparison({self.model!r} on {self.file!r}, {', '.join(self.reports)})"

    def __str__(self) -> str:
        return text_table(self.columns, self.rows())

    def _repr_html_(self) -> str:
        from nextword.html.notebook import table_block

        return table_block(self.columns, self.rows())

    def rows(self) -> list[list[str]]:
        """Return the cells of the table: mean F1 times 100 with its 95 % interval, for each decoding strategy."""
        return [_row(name, report) for name, report in self.reports.items()]

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how the summaries were made and compared."""
        split = (
            f"{name}: {count(number, 'text')} beyond the context summarised in parts"
            for name, number in self.num_split.items()
            if number
        )
        splittings = {report.words for report in self.reports.values()} - {"english"}
        return (*split, *(f"ROUGE of {WORDS_IN_FULL[words]}" for words in splittings))

    def to_json(self) -> dict[str, object]:
        """Return plain values: all figures and summaries."""
        settings = [
            {"decoding": name, **dataclasses.asdict(report), "summaries": list(self.summaries[name])}
            for name, report in self.reports.items()
        ]
        return {"model": self.model, "settings": settings}


@checked_arguments
def rouge(
    model: ModelSource,
    file: str | Path,
    *,
    setting: Sequence[str] = (),
    limit: int | None = None,
    length: Length = "short",
    text_field: str = "dialogue",
    summary_field: str = "summary",
    seed: int = 0,
    words: Words | None = None,
    skip_bad: bool = False,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> RougeComparison:
    """Summarise the texts of a file and compare with the summaries in it by ROUGE (Lin 2004).

    `model`: name, path or loaded model; further keywords are those of `load`. `file`: .jsonl, .json or .parquet with
    texts and summaries. `setting`: how sentences are drawn: "summarize" for the best of several, as `summarize` takes
    it, "greedy", or parameters as in "temperature=0.7 top_p=0.9"; `SETTINGS` if none. `limit`: most texts to read.
    `length`: of the summaries. `seed`: makes sampling reproducible. `words`: "english" or "unicode"; None: by the
    references. `skip_bad`: leave out and count bad records. `html`: file for a page with a plot. `on_progress` is
    called after each summary. Raises RequestError, DataError, MissingExtraError without rouge-score, and as `load`.
    """
    with needs_extra("eval"):
        import rouge_score  # noqa: F401
    require_page(html)
    settings = _settings(setting)
    bad = BadRecords(skip=skip_bad)
    texts = _read(file, text_field, summary_field, limit, bad)
    engine = open_model(model, on_progress, **loading).engine
    write = functools.partial(_summaries, engine, texts, length, seed, on_progress)
    summaries = {name: write(name, one) for name, one in settings.items()}
    result = _compared(name_of(model), file, texts, summaries, bad, words)
    if html is not None:
        from nextword.workflows.rouge_page import write_rouge_page

        write_rouge_page(html, result)
    return result


def _compared(
    model: str,
    file: str | Path,
    texts: tuple[SummarisedText, ...],
    summaries: Mapping[str, Sequence[Summary]],
    bad: BadRecords,
    words: Words | None,
) -> RougeComparison:
    from nextword.evaluation.rouge import rouge_report

    words = words or words_of(text.summary for text in texts)
    return RougeComparison(
        model=model,
        file=str(file),
        reports={
            name: rouge_report(
                ((text.summary, summary.text) for text, summary in zip(texts, written, strict=True)), words=words
            )
            for name, written in summaries.items()
        },
        texts=texts,
        summaries={name: tuple(summary.text for summary in written) for name, written in summaries.items()},
        num_split={name: sum(one.num_parts > 1 for one in written) for name, written in summaries.items()},
        num_bad=bad.num_bad,
        first_bad=bad.first,
    )


def _settings(setting: Sequence[str]) -> dict[str, DecodingSetting | None]:
    """Return the settings by name; None stands for `SUMMARIZE`. Raises RequestError."""
    settings: dict[str, DecodingSetting | None] = {}
    for words in setting or SETTINGS:
        one = None if words.strip() == SUMMARIZE else decoding_setting(words)
        name = SUMMARIZE if one is None else one.name
        for field, reason in (("n", "one summary is drawn for a text"), ("max_tokens", "length decides")):
            if one is not None and field in dict(one.overrides):
                raise RequestError(f"setting {name!r}: {field} is not allowed: {reason}")
        if name in settings:
            raise RequestError(f"setting {name!r} is named twice")
        settings[name] = one
    return settings


def _read(
    file: str | Path, text_field: str, summary_field: str, limit: int | None, bad: BadRecords
) -> tuple[SummarisedText, ...]:
    if limit is not None and limit < 1:
        raise RequestError(f"limit = {limit}: at least one text is needed")
    read = read_summarised(file, text_field=text_field, summary_field=summary_field, on_bad=bad.on_bad)
    texts = tuple(itertools.islice(read, limit and min(limit, sys.maxsize)))
    if not texts:
        raise DataError(f"{file}: there is no text to summarise")
    return texts


def _summaries(
    engine: Engine,
    texts: Sequence[SummarisedText],
    length: Length,
    seed: int,
    on_progress: OnProgress,
    name: str,
    setting: DecodingSetting | None,
) -> list[Summary]:
    params = (
        None
        if setting is None
        else [setting.params(SamplingParams(), seed=seed + number) for number in range(len(texts))]
    )
    on_progress(Progress(f"texts, {name}", 0, len(texts)))
    summaries = []
    for summary in summarize_batch(engine, [text.text for text in texts], params, length=length):
        summaries.append(summary)
        on_progress(Progress(f"texts, {name}", len(summaries), len(texts)))
    return summaries


def _row(name: str, report: RougeReport) -> list[str]:
    cells = [name]
    for figure in report.figures.values():
        interval = figure.interval
        cells += [f"{100 * figure.mean:.1f}", f"{100 * interval.low:.1f}-{100 * interval.high:.1f}" if interval else ""]
    return [*cells, f"{report.mean_words:.0f}", str(report.num_texts)]
