"""`nextword surprise`: a text, each token on the colour of its surprisal."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    ModelArgument,
    load_options,
    read_text,
)
from nextword.cli.colours import SCALE, level, on_background
from nextword.cli.console import ProgressLine, count, note, takes_colours
from nextword.cli.json_output import finite

if TYPE_CHECKING:
    from nextword.workflows.surprise import ScoredPiece, SurpriseAccumulator

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
    """Also write a page, with rank and entropy of each token as tooltips."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print the text, its tokens, or the object, as they come; write the page."""
    from nextword.workflows.surprise import stream_surprise

    text = read_text(options.file)
    with ProgressLine() as line:
        printer = (_Json if options.json else _Colours if takes_colours(sys.stdout) else _Lines)(line)
        sums = stream_surprise(
            options.model,
            text,
            context=options.context,
            html=options.html,
            title=f"{options.file} under {options.model}",
            on_piece=printer,
            on_progress=line.update,
            **load_options(options.compute),
        )
    printer.end(sums)


class _Lines:
    """Print a line for each token."""

    head = "   nats  entropy    rank  token\n"

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self._is_begun = False

    def __call__(self, piece: ScoredPiece, texts: Sequence[str]) -> None:
        if not self._is_begun:
            self._line.clear()
            print(self.head, end="")
        self.show(piece, texts)
        self._is_begun = True

    def show(self, piece: ScoredPiece, texts: Sequence[str]) -> None:
        """Print a piece with the texts of its tokens."""
        for token, text in zip(piece.tokens, texts, strict=True):
            figures = " " * 24
            if token.nats is not None:
                figures = f"{token.nats:7.3f}  {token.entropy:7.3f}  {token.rank:6}"
            print(f"{figures}  {text!r}")

    def end(self, sums: SurpriseAccumulator) -> None:
        """Print the sums on standard error."""
        note(
            f"{count(sums.num_tokens, 'token')}, {sums.mean_nats:.4f} nats a token where "
            f"{sums.mean_entropy:.4f} were expected, {sums.bits_per_byte:.4f} bits a byte"
        )


class _Colours(_Lines):
    """Print the text with colours, after a scale of them."""

    _steps = (on_background(f" {_NATS_A_COLOUR * index:g} ", colour) for index, colour in enumerate(SCALE))
    head = f"nats, from: {''.join(_steps)}\n\n"

    def show(self, piece: ScoredPiece, texts: Sequence[str]) -> None:
        """Print a piece on the colour of its surprisal."""
        colour = SCALE[level(piece.nats or 0.0, step=_NATS_A_COLOUR)]
        print(on_background(piece.text, colour), end="", flush=True)

    def end(self, sums: SurpriseAccumulator) -> None:
        """End the line, and print the sums."""
        print()
        super().end(sums)


class _Json(_Lines):
    """Print one object, token by token."""

    head = '{"tokens": ['

    def show(self, piece: ScoredPiece, texts: Sequence[str]) -> None:
        """Print the tokens of a piece."""
        for number, (token, text) in enumerate(zip(piece.tokens, texts, strict=True)):
            fields = {"token_id": token.token_id, "text": text}
            figures = {"nats": finite(token.nats), "entropy": token.entropy, "rank": token.rank}
            separator = ", " if self._is_begun or number else ""
            print(separator + json.dumps(fields | figures, ensure_ascii=False), end="")

    def end(self, sums: SurpriseAccumulator) -> None:
        """Print the sums, and end the object."""
        fields = {
            "total_nats": finite(sums.total_nats),
            "num_tokens": sums.num_tokens,
            "nats_per_token": finite(sums.mean_nats),
            "entropy_per_token": sums.mean_entropy,
            "bits_per_byte": finite(sums.bits_per_byte),
        }
        print("], " + json.dumps(fields)[1:])
