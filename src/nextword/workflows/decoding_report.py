"""`decoding_report`: continue prompts by several decoding strategies, and measure the texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Unpack

from nextword.checks import checked_arguments
from nextword.data.utf8 import read_text, split_lines
from nextword.decoding.params import SamplingParams
from nextword.decoding.settings import decoding_setting
from nextword.errors import DataError, RequestError
from nextword.extras import needs_extra
from nextword.html.plots import require_page
from nextword.inference.engine import Engine
from nextword.inference.sequence import Request
from nextword.language_model import LanguageModel
from nextword.plain_text import count, text_table
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.progress import OnProgress, Progress, ignore_progress

if TYPE_CHECKING:
    from nextword.evaluation.decoded import DecodedFigures, DecodedText

SETTINGS = (
    "greedy",
    *(
        f"{truncation}temperature={temperature}"
        for truncation in ("", "top_k=50 ", "top_p=0.9 ")
        for temperature in (0.5, 1.0, 1.5)
    ),
    "p_less=true",
    "mirostat_tau=3",
    "dynatemp_range=0.5",
    "dry_multiplier=0.8",
)
"""Decoding strategies compared where none is named: greedy; random, top-k and top-p sampling at three temperatures; and
at temperature 1 p-less, mirostat, dynamic temperature and DRY."""
HUMAN = "human"
"""Name of the row of the references."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingReport:
    """Repetition, diversity and probability of texts by decoding strategy; `print` shows a table."""

    columns: ClassVar = (
        "decoding",
        "rep-2",
        "rep-3",
        "rep-4",
        "distinct-1",
        "distinct-2",
        "self-BLEU",
        "Zipf",
        "perplexity",
        "95 %",
        "entropy",
        "tokens",
    )
    """Head of the table."""
    model: str
    """Name or path of the model."""
    prompts: tuple[str, ...]
    """Prompts that were continued."""
    figures: Mapping[str, DecodedFigures]
    """Figures by decoding strategy."""
    texts: Mapping[str, tuple[tuple[str, ...], ...]] = dataclasses.field(repr=False)
    """Texts by decoding strategy: for each prompt its samples."""
    human: DecodedFigures | None = None
    """Figures of the references that were given: what people have written after the prompts."""

    def __repr__(self) -> str:
        prompts, settings = count(len(self.prompts), "prompt"), count(len(self.figures), "setting")
        return f"DecodingReport({self.model!r}, {prompts}, {settings})"

    def __str__(self) -> str:
        return text_table(self.columns, self.rows())

    def _repr_html_(self) -> str:
        from nextword.html.notebook import table_block

        return table_block(self.columns, self.rows())

    def rows(self) -> list[list[str]]:
        """Return the cells of the table, a row for each decoding strategy, and one for the references."""
        rows = [_row(name, figures) for name, figures in self.figures.items()]
        return [*rows, _row(HUMAN, self.human)] if self.human else rows

    @property
    def num_texts(self) -> int:
        """Number of all texts."""
        return sum(figures.num_texts for figures in self.figures.values())

    def to_json(self) -> dict[str, object]:
        """Return plain values: all figures and texts."""
        settings = [
            {"decoding": name, **dataclasses.asdict(figures), "texts": [list(texts) for texts in self.texts[name]]}
            for name, figures in self.figures.items()
        ]
        human = self.human and dataclasses.asdict(self.human)
        return {"model": self.model, "prompts": list(self.prompts), HUMAN: human, "settings": settings}


@checked_arguments
def decoding_report(
    model: ModelSource,
    prompts: str | Path | Sequence[str],
    *,
    setting: Sequence[str] = (),
    samples: int = 4,
    max_tokens: int = 128,
    limit: int | None = None,
    references: str | Path | Sequence[str] | None = None,
    seed: int = 0,
    parse_special: bool = False,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> DecodingReport:
    """Continue each prompt by each decoding strategy; measure repetition, diversity, perplexity and entropy.

    `model`: name, path or loaded model; further keywords are those of `load`. `prompts`: a file with a prompt on each
    line, or the prompts. `setting`: decoding strategies, "greedy" or parameters as in "temperature=0.7 top_p=0.9";
    `SETTINGS` if empty. `samples`: texts of each prompt, at least two. `limit`: most prompts to read. `references`: a
    file with a line for each prompt, or the lines, that people have written after it: their first `max_tokens` tokens
    are measured like the texts (Holtzman et al. 2020). `parse_special`: read control tokens written in the prompts as
    tokens. `html`: file for a page. Raises RequestError, DataError, MissingExtraError without nltk, and as `load`.
    """
    with needs_extra("eval"):
        import nltk  # noqa: F401
    from nextword.workflows.decoding_page import write_decoding_page

    require_page(html)
    params = _params(setting, samples=samples, max_tokens=max_tokens, seed=seed)
    lines = _lines("prompts", prompts, limit)
    written = _references(references, len(lines))
    opened = open_model(model, on_progress, **loading)
    encoded = [opened.tokenizer.encode_prompt(line, parse_special=parse_special) for line in lines]
    requests = _continued(opened.engine, encoded, params, on_progress)
    human = _human(opened, encoded, written, max_tokens) if written else None
    report = dataclasses.replace(_measured(opened, name_of(model), lines, requests), human=human)
    if html is not None:
        write_decoding_page(html, report)
    return report


def _measured(
    model: LanguageModel, name: str, prompts: tuple[str, ...], requests: Mapping[str, Sequence[Request]]
) -> DecodingReport:
    from nextword.evaluation.decoded import decoded_figures

    return DecodingReport(
        model=name,
        prompts=prompts,
        figures={setting: decoded_figures(_decoded(model, of_setting)) for setting, of_setting in requests.items()},
        texts={
            setting: tuple(tuple(sequence.stream.text for sequence in request.sequences) for request in of_setting)
            for setting, of_setting in requests.items()
        },
    )


def _params(setting: Sequence[str], *, samples: int, max_tokens: int, seed: int) -> dict[str, SamplingParams]:
    """Return the parameters of each decoding strategy, by its name. Raises RequestError."""
    if samples < 2:
        raise RequestError(f"samples = {samples}: at least two texts of a prompt are compared")
    if max_tokens < 1:
        raise RequestError(f"max_tokens = {max_tokens}: at least one token is needed")
    base = SamplingParams(max_tokens=max_tokens, n=samples)
    settings = [decoding_setting(words) for words in setting or SETTINGS]
    params = {one.name: one.params(base, seed=seed) for one in settings}
    if len(params) < len(settings):
        raise RequestError("a setting is named twice")
    for name, of_setting in params.items():
        if (of_setting.n, of_setting.max_tokens) != (base.n, base.max_tokens):
            raise RequestError(f"setting {name!r}: samples and max_tokens say n and max_tokens, alike for all")
    return params


def _lines(what: str, given: str | Path | Sequence[str], limit: int | None = None) -> tuple[str, ...]:
    """Return the lines of a file, or those given, but for empty ones. Raises DataError if there are none.

    Raises RequestError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise RequestError(f"limit = {limit}: at least one prompt is needed")
    name = str(given) if isinstance(given, (str, Path)) else what
    lines = split_lines(read_text(Path(given)), name=name) if isinstance(given, (str, Path)) else given
    kept = tuple(line.rstrip() for line in lines if line.strip())
    if not kept:
        raise DataError(f"{name}: there is no {what.removesuffix('s')}")
    return kept[:limit]


def _references(given: str | Path | Sequence[str] | None, num_prompts: int) -> tuple[str, ...]:
    """Return what people have written after each prompt, if given. Raises DataError if there are fewer than prompts."""
    if given is None:
        return ()
    lines = _lines("references", given)
    if len(lines) < num_prompts:
        raise DataError(f"references: {count(len(lines), 'line')} for {count(num_prompts, 'prompt')}: one for each")
    return lines[:num_prompts]


def _continued(
    engine: Engine, prompts: Sequence[list[int]], params: Mapping[str, SamplingParams], on_progress: OnProgress
) -> dict[str, list[Request]]:
    """Return the finished requests of each decoding strategy, one for each prompt; the engine batches them all."""
    what = "prompts continued"
    requests = {name: [engine.submit(prompt, of_setting) for prompt in prompts] for name, of_setting in params.items()}
    every = [request for of_setting in requests.values() for request in of_setting]
    try:
        on_progress(Progress(what, 0, len(every)))
        for number, request in enumerate(every, 1):
            engine.run([request])  # the others advance beside it
            on_progress(Progress(what, number, len(every)))
    finally:
        for request in every:
            engine.cancel(request)
    return requests


def _decoded(model: LanguageModel, requests: Sequence[Request]) -> list[list[DecodedText]]:
    """Return the texts of each prompt with the model's own scores of their tokens."""
    pairs = [(request, sequence) for request in requests for sequence in request.sequences]
    scored = iter(_scored(model, [(request.prompt_token_ids, sequence.token_ids) for request, sequence in pairs]))
    return [[next(scored) for _ in request.sequences] for request in requests]


def _human(
    model: LanguageModel, prompts: Sequence[list[int]], written: Sequence[str], max_tokens: int
) -> DecodedFigures:
    """Return the figures of what people have written after the prompts, cut to as many tokens as texts may have."""
    from nextword.evaluation.decoded import decoded_figures

    encoded = [model.tokenizer.encode_continuation(f" {line.lstrip()}")[:max_tokens] for line in written]
    return decoded_figures([[one] for one in _scored(model, list(zip(prompts, encoded, strict=True)))])


def _scored(model: LanguageModel, texts: Sequence[tuple[list[int], list[int]]]) -> list[DecodedText]:
    """Return the texts after prompts, both in tokens, with the model's scores."""
    from nextword.evaluation.decoded import DecodedText
    from nextword.evaluation.scoring.batches import score_windows
    from nextword.evaluation.scoring.windows import Window

    ends = model.tokenizer.eos_token_ids
    scores = score_windows(model.engine, [Window(0, [*prompt, *text], len(text)) for prompt, text in texts])
    return [
        DecodedText([token_id for token_id in text if token_id not in ends], of_text)
        for (_, text), of_text in zip(texts, scores, strict=True)
    ]


def _row(name: str, figures: DecodedFigures) -> list[str]:
    interval = figures.perplexity_interval
    return [
        name,
        *(f"{share:.3f}" for share in figures.repetition.values()),
        *(f"{figures.distinct[n]:.3f}" for n in (1, 2)),
        "" if figures.self_bleu is None else f"{figures.self_bleu:.3f}",
        "" if figures.zipf is None else f"{figures.zipf:.2f}",
        f"{figures.perplexity:.2f}",
        f"{interval.low:.2f}-{interval.high:.2f}" if interval else "",
        f"{figures.entropy:.2f}",
        f"{figures.mean_length:.0f}",
    ]
