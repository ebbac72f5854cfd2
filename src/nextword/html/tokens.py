"""`token_span`: a piece of text on the colour of its surprisal, for pages and notebooks."""

from __future__ import annotations

import html

from nextword.html.page import Html

DEEPEST_NATS = 12.0
"""Surprisal, in nats, of the deepest colour."""


def token_span(text: str, nats: float | None, *, title: str = "") -> Html:
    """Return a span coloured by surprisal in nats, without colour for None; `title` is its tooltip."""
    style = "" if nats is None else f' style="{_background(nats)}"'
    shown_title = f' title="{html.escape(title)}"' if title else ""
    return Html(f"<span{style}{shown_title}>{html.escape(text)}</span>")


def colour_scale() -> Html:
    """Return a legend of the colours in nats."""
    steps = (
        f'<span style="{_background(nats)};display:inline-block;padding:0 .6em;margin-right:2px">{nats}</span>'
        for nats in (0, 2, 4, 6, 8, 10, 12)
    )
    return Html(f"Surprisal in nats: {''.join(steps)}")


def marked_difference(before: str, text: str, *, is_better: bool) -> Html:
    """Return the text on green if one model predicts it better than another, else on red, with the text before it."""
    colour = "76,175,80" if is_better else "229,57,53"
    style = f"background:rgba({colour},.35);border-radius:2px"
    return Html(f'{html.escape(before)}<span style="{style}">{html.escape(text)}</span>')


def _background(nats: float) -> str:
    return f"background:rgba(220,60,30,{min(nats / DEEPEST_NATS, 1.0):.2f})"
