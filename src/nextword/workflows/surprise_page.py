"""A text as a page, each token on the colour of its surprisal; pointing at one shows its rank and entropy."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import Path

from nextword.evaluation.surprise import ScoredPiece, SurpriseAccumulator
from nextword.html.page import Html, heading, paragraph, table, write_page

_DEEPEST = 12.0
"""Nats from which on the colour does not deepen."""
_STYLE = """
.tokens span { border-radius: 2px }
.tokens span:hover { outline: 2px solid #555 }
.scale span { display: inline-block; padding: 0 .6rem; margin-right: 2px }
"""


def write_surprise_page(path: Path, pieces: Iterable[ScoredPiece], summary: SurpriseAccumulator, *, title: str) -> None:
    """Write the pieces as they come, then the `summary` that has watched them. Raises DataError if the disk refuses."""
    write_page(path, title, _parts(pieces, summary), style=_STYLE)


def _parts(pieces: Iterable[ScoredPiece], summary: SurpriseAccumulator) -> Iterator[Html]:
    scale = "".join(f'<span style="{_colour(nats)}">{nats:g}</span>' for nats in (0, 2, 4, 6, 8, 10, 12))
    yield Html(f'<p class="scale">Surprisal in nats: {scale}</p>\n<div class="tokens">')
    for piece in pieces:
        yield _span(piece)
    yield Html("</div>")
    figures = [
        ("scored tokens", f"{summary.num_tokens:,}"),
        ("surprisal, nats per token", f"{summary.mean_nats:.4f}"),
        ("entropy, nats per token", f"{summary.mean_entropy:.4f}"),
        ("bits per byte", f"{summary.bits_per_byte:.4f}"),
    ]
    yield heading("In all")
    yield table(("", ""), figures)
    yield heading("The most surprising tokens")
    rows = [(repr(piece.text), f"{nats:.2f}", *_ranks(piece)) for nats, _, piece in summary.most_surprising]
    yield table(("token", "nats", "rank"), rows)
    yield paragraph("Surprisal is what it took to see the token; entropy what the model expected to need.")


def _span(piece: ScoredPiece) -> Html:
    shown = html.escape(piece.text)
    if piece.nats is None:
        return Html(f'<span title="nothing stands before it: not scored">{shown}</span>')
    entropy = sum(token.entropy for token in piece.tokens if token.entropy is not None)
    (ranks,) = _ranks(piece)
    title = f"surprisal {piece.nats:.3f} nats, rank {ranks}, entropy {entropy:.3f} nats"
    return Html(f'<span style="{_colour(piece.nats)}" title="{title}">{shown}</span>')


def _ranks(piece: ScoredPiece) -> tuple[str]:
    return (", ".join(f"{token.rank:,}" for token in piece.tokens if token.rank is not None),)


def _colour(nats: float) -> str:
    return f"background:rgba(220,60,30,{min(nats / _DEEPEST, 1.0):.2f})"
