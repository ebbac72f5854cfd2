"""Values as HTML for notebooks: text and numbers in, one block of markup with inline styles out.

No scripts, and translucent colours only, so that a block reads well on light and on dark. Needs the standard library
only; imported when a notebook shows a value.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

from nextword.html.page import Html
from nextword.html.tokens import colour_scale, token_span

_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = f"padding:.15em .7em;border:0;border-bottom:{_LINE};background:none;font-variant-numeric:tabular-nums"
_BAR = "display:inline-block;height:.8em;min-width:1px;border-radius:2px;background:rgba(66,133,244,.7)"
_BAR_WIDTH_EM = 14
_TEXT = "font-family:ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere"


def block(*parts: Html) -> str:
    """Join parts to the value of `_repr_html_`; a part that is too wide scrolls inside the block."""
    return f'<div style="max-width:56rem;overflow-x:auto;line-height:1.5">{"".join(parts)}</div>'


def line(text: str, *, strong: bool = False) -> Html:
    """Return a paragraph of plain text."""
    weight = ";font-weight:bold" if strong else ""
    return Html(f'<p style="margin:.3em 0{weight}">{html.escape(text)}</p>')


def small_table(columns: Sequence[str], rows: Iterable[Sequence[Html]], *, left: Collection[int] = (0,)) -> Html:
    """Return a table of cells that are markup already; columns in `left` are aligned to the left, others right."""
    head = _row("th", [Html(html.escape(name)) for name in columns], left)
    body = "".join(_row("td", row, left) for row in rows)
    return Html(f'<table style="border-collapse:collapse;margin:.4em 0">{head}{body}</table>')


def table_block(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int] = (0,)) -> str:
    """Return a table of plain text as the value of `_repr_html_`; `left` as in `small_table`."""
    return block(small_table(columns, [[Html(html.escape(cell)) for cell in row] for row in rows], left=left))


def bar(share: float) -> Html:
    """Return a bar that fills `share`, from 0 to 1, of its column."""
    width = _BAR_WIDTH_EM * min(max(share, 0.0), 1.0)
    return Html(f'<span style="{_BAR};width:{width:.2f}em"></span>')


def code(text: str) -> Html:
    """Return a short text in monospace, with its spaces."""
    return Html(f'<span style="{_TEXT}">{html.escape(text)}</span>')


def coloured_text(pieces: Iterable[tuple[str, float | None, str]]) -> Html:
    """Return pieces (text, surprisal in nats or None, title) on the colours of their surprisal, with a legend."""
    spans = "".join(token_span(text, nats, title=title) for text, nats, title in pieces)
    return Html(f'<p style="margin:.3em 0">{colour_scale()}</p><div style="{_TEXT};line-height:1.9">{spans}</div>')


def _row(tag: str, cells: Sequence[Html], left: Collection[int]) -> str:
    aligned = ("left" if index in left else "right" for index in range(len(cells)))
    shown = (
        f'<{tag} style="{_CELL};text-align:{side}">{cell}</{tag}>' for side, cell in zip(aligned, cells, strict=True)
    )
    return f"<tr>{''.join(shown)}</tr>"
