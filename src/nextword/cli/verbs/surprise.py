"""`nextword surprise`: a text, each token on the colour of its surprisal."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, ModelArgument, load_model, read_text
from nextword.cli.colours import SCALE, level, on_background
from nextword.cli.console import count, note, takes_colours

if TYPE_CHECKING:
    from nextword.evaluation.surprise import ScoredPiece, SurpriseAccumulator
    from nextword.language_model import LanguageModel

_NATS_A_COLOUR = 2.0


@dataclasses.dataclass(frozen=True)
class Options:
    """Show how surprised a model is by each token of a text: colours on a terminal, else a line for each token."""

    model: ModelArgument
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE", help="The text; - reads standard input.")]
    context: int | None = None
    """Tokens of a window; None: as many as the model attends to. Windows overlap by half."""
    json: bool = False
    """Print one JSON object: each token with its surprisal, entropy and rank, and the sums."""
    html: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write a page, where pointing at a token shows its rank and entropy."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print the text, its tokens, or the object, as they come; write the page."""
    from nextword.evaluation.surprise import SurpriseAccumulator, surprise_pieces
    from nextword.html.page import require_folder
    from nextword.workflows.surprise_page import write_surprise_page

    if options.html is not None:
        require_folder(options.html)
    text = read_text(options.file)
    model = load_model(options.model, options.compute)
    summary = SurpriseAccumulator()
    pieces = summary.watch(surprise_pieces(model.engine, text, context=options.context))
    if options.json:
        pieces = _as_json(pieces, model, summary)
    elif takes_colours(sys.stdout):
        pieces = _coloured(pieces)
    else:
        pieces = _as_lines(pieces, model)
    if options.html is None:
        deque(pieces, maxlen=0)
    else:
        write_surprise_page(Path(options.html), pieces, summary, title=f"{options.file} under {options.model}")
    if not options.json:
        note(
            f"{count(summary.num_tokens, 'token')}, {summary.mean_nats:.4f} nats a token where "
            f"{summary.mean_entropy:.4f} were expected, {summary.bits_per_byte:.4f} bits a byte"
        )


def _coloured(pieces: Iterable[ScoredPiece]) -> Iterator[ScoredPiece]:
    """Print the text with colours, and what they mean."""
    steps = [on_background(f" {_NATS_A_COLOUR * index:g} ", colour) for index, colour in enumerate(SCALE)]
    print(f"nats, from: {''.join(steps)}\n")
    for piece in pieces:
        print(on_background(piece.text, SCALE[level(piece.nats or 0.0, step=_NATS_A_COLOUR)]), end="", flush=True)
        yield piece
    print()


def _as_lines(pieces: Iterable[ScoredPiece], model: LanguageModel) -> Iterator[ScoredPiece]:
    """Print a line for each token."""
    print("   nats  entropy    rank  token")
    for piece in pieces:
        for token in piece.tokens:
            figures = " " * 24
            if token.nats is not None:
                figures = f"{token.nats:7.3f}  {token.entropy:7.3f}  {token.rank:6}"
            print(f"{figures}  {model.tokenizer.token_text(token.token_id)!r}")
        yield piece


def _as_json(
    pieces: Iterable[ScoredPiece], model: LanguageModel, summary: SurpriseAccumulator
) -> Iterator[ScoredPiece]:
    """Print one object, token by token."""
    print('{"tokens": [', end="")
    separator = ""
    for piece in pieces:
        for token in piece.tokens:
            fields = {"token_id": token.token_id, "text": model.tokenizer.token_text(token.token_id)}
            figures = {"nats": _finite(token.nats), "entropy": token.entropy, "rank": token.rank}
            print(separator + json.dumps(fields | figures, ensure_ascii=False), end="")
            separator = ", "
        yield piece
    sums = {
        "total_nats": _finite(summary.total_nats),
        "num_tokens": summary.num_tokens,
        "nats_per_token": _finite(summary.mean_nats),
        "entropy_per_token": summary.mean_entropy,
        "bits_per_byte": _finite(summary.bits_per_byte),
    }
    print("], " + json.dumps(sums)[1:])


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
