"""`write_page`: parts of a report in, one self-contained HTML file out.

Parts are made by the functions here, in `plots` and in `tokens`; each escapes what it is given. A page fits a phone and
a laptop: text wraps, plots shrink, and a table that is wider than the page scrolls inside its own box. Knows no models.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NewType

from nextword.atomic_file import write_atomically
from nextword.errors import DataError, os_reason
from nextword.plain_text import printable

Html = NewType("Html", str)
"""Markup that can stand in a page as it is."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 66rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: anywhere }
h1, h2 { line-height: 1.2 }
.box { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; overflow-wrap: normal; font-size: .95rem }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums;
  vertical-align: top }
th:first-child, td:first-child, th.text, td.text { text-align: left }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 8rem }
figure { margin: 1.5rem 0 }
figure svg { max-width: 100%; height: auto }
figcaption { color: #555 }
pre, .tokens { font: 15px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
@media (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 .75rem }
  h1 { font-size: 1.5rem }
  table { font-size: .9rem }
  th, td { padding: .2rem .4rem }
  td:not(.text, :first-child) { white-space: nowrap }
}
"""


def escaped(text: str) -> Html:
    """Return the markup that shows a text."""
    return Html(html.escape(text))


def heading(text: str) -> Html:
    """Return a heading of a part of the page."""
    return Html(f"<h2>{html.escape(text)}</h2>")


def paragraph(text: str) -> Html:
    """Return a paragraph of plain text."""
    return Html(f"<p>{html.escape(text)}</p>")


def preformatted(text: str) -> Html:
    """Return a text with its spaces and line ends."""
    return Html(f"<pre>{html.escape(text)}</pre>")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return rows of cells under the names of their columns, the first column to the left; cells are shown as str."""
    return markup_table(columns, ([escaped(str(cell)) for cell in row] for row in rows))


def markup_table(columns: Sequence[str], rows: Iterable[Sequence[Html]], *, text: Collection[int] = ()) -> Html:
    """Return a table of cells that are markup already; columns in `text` are aligned to the left and wrap."""
    kinds = [' class="text"' if index in text else "" for index in range(len(columns))]
    head = "".join(f"<th{kind}>{html.escape(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    body = "\n".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>" for row in rows
    )
    return Html(f'<div class="box"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>')


def require_folder(path: Path | str) -> None:
    """Check that a page can be written, before a long measurement. Raises DataError if it cannot be at `path`."""
    if Path(path).is_dir():
        raise DataError(f"{path}: cannot be written: this is a folder, name a file in it")
    if not Path(path).parent.is_dir():
        raise DataError(f"{path}: cannot be written: {Path(path).parent} is no folder")


def write_page(path: Path | str, title: str, parts: Iterable[Html], *, style: str = "") -> None:
    """Write a page, part by part; `style`: more CSS. Raises DataError if writing fails."""
    try:
        with write_atomically(Path(path)) as out:
            out.write(_head(printable(title), style).encode())
            for part in parts:
                out.write(printable(part).encode())
            out.write(b"\n</body></html>\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {os_reason(error)}") from None


def _head(title: str, style: str) -> str:
    shown = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n<title>{shown}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}{style}</style>\n'
        f"</head><body>\n<h1>{shown}</h1>\n"
    )
