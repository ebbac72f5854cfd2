"""`nextword decoding-report`: prompts in, what each way of decoding makes of them out, as figures and plots."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, ModelArgument, load_model, read_text
from nextword.cli.console import note, text_table, with_progress
from nextword.decoding.params import SamplingParams
from nextword.decoding.settings import DecodingSetting, decoding_setting
from nextword.errors import DataError, RequestError
from nextword.extras import needs_extra
from nextword.html.plots import require_page

if TYPE_CHECKING:
    from nextword.evaluation.decoded import DecodedFigures, DecodedText
    from nextword.html.page import Html
    from nextword.inference.engine import Engine
    from nextword.inference.sequence import Request
    from nextword.language_model import LanguageModel

_SETTINGS = (
    "greedy",
    *(
        f"{truncation}temperature={temperature}"
        for truncation in ("", "top_k=50 ", "top_p=0.9 ")
        for temperature in (0.5, 1.0, 1.5)
    ),
)
"""Those compared where none is named: greedy; random, top-k and top-p sampling at three temperatures."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Show what ways of decoding do to texts: how they repeat themselves, how diverse and how probable they are."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROMPTS")]
    """A prompt on each line; - reads standard input."""
    setting: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A way of decoding: greedy, or parameters as in "temperature=0.7 top_p=0.9"; repeat it for more lines."""
    samples: int = 4
    """Texts to draw after each prompt, at least two."""
    max_tokens: int = 128
    """Most tokens of a text."""
    limit: int | None = None
    """Read no more than so many prompts."""
    seed: int = 0
    """Makes the draws repeatable."""
    json: bool = False
    """Print one JSON object: figures, and every text."""
    html: Annotated[str | None, tyro.conf.arg(metavar="PAGE")] = None
    """Also write a page with plots of the figures."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each setting."""
    from nextword.cli.json_output import print_json

    with needs_extra("eval"):
        from nextword.evaluation.decoded import decoded_figures
    require_page(options.html)
    params = _params(options)
    prompts = _prompts(options)
    model = load_model(options.model, options.compute)
    start = time.perf_counter()
    requests = _written(model, prompts, params)
    figures = {name: decoded_figures(_decoded(model, of_setting)) for name, of_setting in requests.items()}
    texts = {
        name: [[sequence.stream.text for sequence in request.sequences] for request in of_setting]
        for name, of_setting in requests.items()
    }
    if options.html is not None:
        _write_page(options, figures, prompts, texts)
    if options.json:
        rows = [{"decoding": name, **dataclasses.asdict(figures[name]), "texts": texts[name]} for name in figures]
        print_json({"model": options.model, "prompts": prompts, "settings": rows})
    else:
        print(text_table(_COLUMNS, [_row(name, of_setting) for name, of_setting in figures.items()]))
    num_texts = sum(of_setting.num_texts for of_setting in figures.values())
    note(f"{num_texts} texts in {time.perf_counter() - start:.1f} s")


def _params(options: Options) -> dict[str, SamplingParams]:
    """The parameters of each setting, by its name. Raises RequestError."""
    if options.samples < 2:
        raise RequestError(f"--samples {options.samples}: at least two texts of a prompt are compared")
    if options.max_tokens < 1:
        raise RequestError(f"--max-tokens {options.max_tokens}: at least one token is needed")
    base = SamplingParams(max_tokens=options.max_tokens, n=options.samples)
    settings: list[DecodingSetting] = [decoding_setting(words) for words in options.setting or _SETTINGS]
    params = {setting.name: setting.params(base, seed=options.seed) for setting in settings}
    if len(params) < len(settings):
        raise RequestError("a --setting is named twice")
    for name, of_setting in params.items():
        if (of_setting.n, of_setting.max_tokens) != (base.n, base.max_tokens):
            raise RequestError(f"setting {name!r}: --samples and --max-tokens say n and max_tokens, alike for all")
    return params


def _prompts(options: Options) -> list[str]:
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"--limit {options.limit}: at least one prompt is needed")
    prompts = [line.rstrip() for line in read_text(options.file).splitlines() if line.strip()][: options.limit]
    if not prompts:
        raise DataError(f"{options.file}: there is no prompt")
    return prompts


def _written(
    model: LanguageModel, prompts: Sequence[str], params: Mapping[str, SamplingParams]
) -> dict[str, list[Request]]:
    """The finished requests of each setting, a request for each prompt; all of them run together."""
    requests = {
        name: [model.engine.submit(model.tokenizer.encode(prompt), of_setting) for prompt in prompts]
        for name, of_setting in params.items()
    }
    every = [request for of_setting in requests.values() for request in of_setting]
    for _ in with_progress(_finished(model.engine, every), total=len(every), what="prompts continued"):
        pass
    return requests


def _finished(engine: Engine, requests: Sequence[Request]) -> Iterator[Request]:
    """The requests in order, each when it is finished; the others go on meanwhile."""
    for request in requests:
        while not request.is_finished:
            engine.step()
        engine.run([request])  # raises its error, if it had one
        yield request


def _decoded(model: LanguageModel, requests: Sequence[Request]) -> list[list[DecodedText]]:
    """The texts of each prompt with the model's own scores of their tokens."""
    from nextword.evaluation.decoded import DecodedText
    from nextword.evaluation.scoring.batches import score_windows
    from nextword.evaluation.scoring.windows import Window

    windows = [
        Window(0, [*request.prompt_token_ids, *sequence.token_ids], len(sequence.tokens))
        for request in requests
        for sequence in request.sequences
    ]
    scores = score_windows(model.engine, windows)
    ends = model.tokenizer.eos_token_ids
    return [
        [
            DecodedText([token_id for token_id in sequence.token_ids if token_id not in ends], next(scores))
            for sequence in request.sequences
        ]
        for request in requests
    ]


_COLUMNS = (
    "decoding",
    "rep-2",
    "rep-3",
    "rep-4",
    "distinct-1",
    "distinct-2",
    "self-BLEU",
    "perplexity",
    "95 %",
    "entropy",
    "tokens",
)


def _row(name: str, figures: DecodedFigures) -> list[str]:
    interval = figures.perplexity_interval
    return [
        name,
        *(f"{share:.3f}" for share in figures.repetition.values()),
        *(f"{figures.distinct[n]:.3f}" for n in (1, 2)),
        f"{figures.self_bleu:.3f}",
        f"{figures.perplexity:.2f}",
        f"{interval.low:.2f}-{interval.high:.2f}" if interval else "",
        f"{figures.entropy:.2f}",
        f"{figures.mean_length:.0f}",
    ]


def _write_page(
    options: Options,
    figures: Mapping[str, DecodedFigures],
    prompts: Sequence[str],
    texts: Mapping[str, Sequence[Sequence[str]]],
) -> None:
    from nextword.html.page import heading, preformatted, table, write_page

    first = [part for name, written in texts.items() for part in (heading(name), preformatted(written[0][0]))]
    write_page(
        Path(options.html or ""),
        f"What decoding does to the texts of {options.model}",
        [
            table(_COLUMNS, [_row(name, of_setting) for name, of_setting in figures.items()]),
            *_plots(figures),
            heading(f"After: {prompts[0]}"),
            *first,
        ],
    )
    note(f"wrote {options.html}")


def _plots(figures: Mapping[str, DecodedFigures]) -> list[Html]:
    """Repetition and perplexity, a bar for each setting."""
    from nextword.html.plots import plot

    names, height = list(figures)[::-1], 1.0 + 0.3 * len(figures)
    shares = [figures[name].repetition[4] for name in names]
    perplexities = [figures[name].perplexity for name in names]
    return [
        plot(
            lambda axes: axes.barh(names, shares),
            caption="rep-4: the share of runs of four tokens that the same text had before. Greedy decoding repeats.",
            height=height,
        ),
        plot(
            lambda axes: axes.barh(names, perplexities, log=True),
            caption="Perplexity of the texts under the model itself. A high temperature wanders off.",
            height=height,
        ),
    ]
