"""`write_surprise_page`: a text, each token on the colour of its surprisal, with rank and entropy as tooltips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from nextword.evaluation.surprise import ScoredPiece, SurpriseAccumulator
from nextword.html.page import Html, heading, paragraph, table, write_page
from nextword.html.tokens import colour_scale, token_span

_STYLE = """
.tokens span { border-radius: 2px }
.tokens span:hover { outline: 2px solid #555 }
"""


def write_surprise_page(path: Path, pieces: Iterable[ScoredPiece], summary: SurpriseAccumulator, *, title: str) -> None:
    """Write the pieces as they come, then the sums of the `summary` that counts them. Raises DataError."""
    write_page(path, title, _parts(pieces, summary), style=_STYLE)


def _parts(pieces: Iterable[ScoredPiece], summary: SurpriseAccumulator) -> Iterator[Html]:
    yield Html(f'<p>{colour_scale()}</p>\n<div class="tokens">')
    for piece in pieces:
        yield token_span(piece.text, piece.nats, title=piece.title)
    yield Html("</div>")
    figures = [
        ("scored tokens", f"{summary.num_tokens:,}"),
        ("surprisal, nats per token", f"{summary.mean_nats:.4f}"),
        ("entropy, nats per token", f"{summary.mean_entropy:.4f}"),
        ("bits per byte", f"{summary.bits_per_byte:.4f}"),
    ]
    yield heading("Sums")
    yield table(("", ""), figures)
    yield heading("The most surprising tokens")
    rows = [(repr(piece.text), f"{nats:.2f}", piece.ranks) for nats, _, piece in summary.most_surprising]
    yield table(("token", "nats", "rank"), rows)
    yield paragraph("Surprisal is -ln of the token's probability; entropy is the surprisal that the model expected.")
