"""`nextword rouge`: texts with summaries in, how near a model's summaries come to them out, for several decodings."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, ModelArgument, SkipBadArgument, load_model
from nextword.cli.console import count, note, note_skipped, text_table, with_progress
from nextword.data.records import BadRecords
from nextword.data.summarised import SummarisedText, read_summarised
from nextword.decoding.settings import DecodingSetting, decoding_setting
from nextword.errors import DataError, RequestError
from nextword.extras import needs_extra
from nextword.html.plots import require_page
from nextword.tasks.summarize import Length, summarize_batch, summary_params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nextword.evaluation.rouge import RougeReport
    from nextword.language_model import LanguageModel

_SETTINGS = ("greedy", "temperature=0.7", "top_k=50", "top_p=0.9")
"""Those compared where none is named."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Summarise texts and compare with the summaries that a person wrote, by ROUGE."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """.jsonl, .json or .parquet with texts and summaries."""
    setting: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A way of decoding: greedy, or parameters as in "temperature=0.7 top_p=0.9"; repeat it for more lines."""
    limit: int | None = None
    """Read no more than so many texts."""
    length: Length = "short"
    """How long the summaries should be."""
    text_field: str = "dialogue"
    """The field of a record that holds the text."""
    summary_field: str = "summary"
    """The field of a record that holds the summary."""
    seed: int = 0
    """Makes the draws repeatable."""
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: figures, and every summary."""
    html: Annotated[str | None, tyro.conf.arg(metavar="PAGE")] = None
    """Also write a page with a plot of the figures."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each setting: mean F1 with 95 % intervals, times 100."""
    from nextword.cli.json_output import print_json

    with needs_extra("eval"):
        from nextword.evaluation.rouge import rouge_report
    require_page(options.html)
    settings = _settings(options)
    bad = BadRecords(skip=options.skip_bad)
    texts = _read(options, bad)
    model = load_model(options.model, options.compute)
    start = time.perf_counter()
    summaries = {setting.name: _summaries(model, texts, setting, options) for setting in settings}
    reports = {
        name: rouge_report((text.summary, summary) for text, summary in zip(texts, written, strict=True))
        for name, written in summaries.items()
    }
    note_skipped(bad.num_bad, bad.first)
    if options.html is not None:
        _write_page(options, reports, texts, summaries)
    if options.json:
        print_json({"model": options.model, "settings": _as_json(reports, summaries)})
    else:
        print(text_table(_COLUMNS, [_row(name, report) for name, report in reports.items()]))
    note(f"{len(settings)} x {len(texts)} summaries in {time.perf_counter() - start:.1f} s")


def _settings(options: Options) -> list[DecodingSetting]:
    """The ways of decoding, each of which draws one summary of a text. Raises RequestError."""
    settings = [decoding_setting(words) for words in options.setting or _SETTINGS]
    for setting in settings:
        if setting.params(summary_params(options.length), seed=options.seed).n != 1:
            raise RequestError(f"setting {setting.name!r}: n is not for comparisons, which draw a summary each")
        if [other.name for other in settings].count(setting.name) > 1:
            raise RequestError(f"setting {setting.name!r} is named twice")
    return settings


def _read(options: Options, bad: BadRecords) -> list[SummarisedText]:
    read = read_summarised(
        options.file, text_field=options.text_field, summary_field=options.summary_field, on_bad=bad.on_bad
    )
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"--limit {options.limit}: at least one text is needed")
    texts = list(itertools.islice(read, options.limit))
    if not texts:
        raise DataError(f"{options.file}: there is no text to summarise")
    return texts


def _summaries(
    model: LanguageModel, texts: Sequence[SummarisedText], setting: DecodingSetting, options: Options
) -> list[str]:
    base = summary_params(options.length)
    params = [setting.params(base, seed=options.seed + number) for number in range(len(texts))]
    written = summarize_batch(model.engine, [text.text for text in texts], params, length=options.length)
    summaries = list(with_progress(written, total=len(texts), what=f"texts, {setting.name}"))
    num_long = sum(summary.num_parts > 1 for summary in summaries)
    if num_long:
        note(f"{setting.name}: {count(num_long, 'text')} beyond the context summarised in parts")
    return [summary.text for summary in summaries]


_COLUMNS = ("decoding", "ROUGE-1", "95 %", "ROUGE-2", "95 %", "ROUGE-L", "95 %", "words", "texts")


def _row(name: str, report: RougeReport) -> list[str]:
    cells = [name]
    for figure in report.figures.values():
        interval = figure.interval
        cells += [f"{100 * figure.mean:.1f}", f"{100 * interval.low:.1f}-{100 * interval.high:.1f}" if interval else ""]
    return [*cells, f"{report.mean_words:.0f}", str(report.num_texts)]


def _as_json(reports: Mapping[str, RougeReport], summaries: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    return [
        {"decoding": name, **dataclasses.asdict(report), "summaries": summaries[name]}
        for name, report in reports.items()
    ]


def _write_page(
    options: Options,
    reports: Mapping[str, RougeReport],
    texts: Sequence[SummarisedText],
    summaries: Mapping[str, Sequence[str]],
) -> None:
    from nextword.html.page import heading, preformatted, table, write_page
    from nextword.html.plots import plot

    rows = [_row(name, report) for name, report in reports.items()]
    figure = plot(lambda axes: _draw(axes, reports), caption="Mean F1 times 100, with 95 % intervals by bootstrap.")
    first = [("by a person", texts[0].summary), *((name, written[0]) for name, written in summaries.items())]
    shown = "\n\n".join(f"{name}: {summary}" for name, summary in first)
    title = f"{options.file} summarised by {options.model}"
    parts = [table(_COLUMNS, rows), figure, heading("The first text"), preformatted(texts[0].text)]
    write_page(options.html or "", title, [*parts, heading("Its summaries"), preformatted(shown)])
    note(f"wrote {options.html}")


def _draw(axes: Axes, reports: Mapping[str, RougeReport]) -> None:
    """A group of bars for each kind of ROUGE, in it one for each setting."""
    from nextword.evaluation.rouge import KINDS

    width = 0.8 / len(reports)
    for number, (name, report) in enumerate(reports.items()):
        places = [kind + number * width for kind in range(len(KINDS))]
        means = [100 * figure.mean for figure in report.figures.values()]
        errors = [
            (100 * (figure.mean - figure.interval.low), 100 * (figure.interval.high - figure.mean))
            if figure.interval
            else (0.0, 0.0)
            for figure in report.figures.values()
        ]
        axes.bar(places, means, width, yerr=list(zip(*errors, strict=True)), label=name, capsize=2)
    axes.set_xticks([kind + 0.4 - width / 2 for kind in range(len(KINDS))], list(KINDS.values()))
    axes.legend(frameon=False)
