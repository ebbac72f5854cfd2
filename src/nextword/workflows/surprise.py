"""`surprise`: the surprisal of each token of a text under a model; `stream_surprise` yields it as it is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

from nextword.checks import checked_arguments
from nextword.evaluation.surprise import ScoredPiece, SurpriseAccumulator, SurpriseReport, surprise_pieces
from nextword.html.page import require_folder
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.progress import OnProgress, ignore_progress

__all__ = ["OnPiece", "ScoredPiece", "SurpriseAccumulator", "stream_surprise", "surprise"]

OnPiece = Callable[[ScoredPiece, Sequence[str]], None]
"""Called with a piece of the text and the texts of its tokens."""


@checked_arguments
def surprise(
    model: ModelSource,
    text: str,
    *,
    context: int | None = None,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> SurpriseReport:
    """Measure how surprised a model is by each token of a text.

    `model`: name, path or loaded model; further keywords are those of `load`. `context`: tokens of a window; None: the
    model's context. Windows overlap by half. `html`: file for a page with the coloured text. `on_progress` is called
    when the model is loaded. Raises RequestError, DataError if the page cannot be written, and as `load`.
    """
    pieces: list[ScoredPiece] = []
    sums = stream_surprise(
        model,
        text,
        context=context,
        html=html,
        on_piece=lambda piece, texts: pieces.append(piece),
        on_progress=on_progress,
        **loading,
    )
    return SurpriseReport(pieces=tuple(pieces), sums=sums)


def stream_surprise(
    model: ModelSource,
    text: str,
    *,
    on_piece: OnPiece,
    context: int | None = None,
    html: str | Path | None = None,
    title: str | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> SurpriseAccumulator:
    """Pass each piece of a text to `on_piece` as it is computed; return the sums.

    `title`: of the page. Other arguments and errors as those of `surprise`.
    """
    if html is not None:
        require_folder(html)
    opened, sums = open_model(model, on_progress, **loading), SurpriseAccumulator()

    def pieces() -> Iterator[ScoredPiece]:
        for piece in sums.watch(surprise_pieces(opened.engine, text, context=context)):
            on_piece(piece, [opened.tokenizer.token_text(token.token_id) for token in piece.tokens])
            yield piece

    if html is None:
        deque(pieces(), maxlen=0)
    else:
        from nextword.workflows.surprise_page import write_surprise_page

        write_surprise_page(Path(html), pieces(), sums, title=title or f"A text under {name_of(model)}")
    return sums
