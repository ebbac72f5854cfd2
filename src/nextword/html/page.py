"""`write_page`: parts of a report in, one self-contained HTML file out.

Parts are made by the functions here and in `plots`; each escapes what it is given. Knows no models and no measurements.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NewType

from nextword.atomic_file import write_atomically
from nextword.errors import DataError

Html = NewType("Html", str)
"""Markup that is safe as it is."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1, h2 { line-height: 1.2 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
figure { margin: 1.5rem 0 }
figure svg { max-width: 100%; height: auto }
figcaption { color: #555 }
pre, .tokens { font: 15px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
"""


def escaped(text: str) -> Html:
    """Text as markup that shows it."""
    return Html(html.escape(text))


def heading(text: str) -> Html:
    """A heading of a part of the page."""
    return Html(f"<h2>{html.escape(text)}</h2>")


def paragraph(text: str) -> Html:
    """Plain text."""
    return Html(f"<p>{html.escape(text)}</p>")


def preformatted(text: str) -> Html:
    """Text with its spaces and line ends."""
    return Html(f"<pre>{html.escape(text)}</pre>")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Rows of cells under the names of their columns, the first column to the left; cells are shown as str does."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "\n".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return Html(f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>")


def require_folder(path: Path | str) -> None:
    """For those who measure long before they write. Raises DataError if a page cannot be at `path`."""
    if Path(path).is_dir():
        raise DataError(f"{path}: cannot be written: this is a folder, name a file in it")
    if not Path(path).parent.is_dir():
        raise DataError(f"{path}: cannot be written: {Path(path).parent} is no folder")


def write_page(path: Path | str, title: str, parts: Iterable[Html], *, style: str = "") -> None:
    """Write a page, as its parts come; `style`: CSS of its own. Raises DataError if the disk refuses."""
    try:
        with write_atomically(Path(path)) as out:
            out.write(_head(title, style).encode())
            for part in parts:
                out.write(part.encode())
            out.write(b"\n</body></html>\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _head(title: str, style: str) -> str:
    shown = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n<title>{shown}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}{style}</style>\n'
        f"</head><body>\n<h1>{shown}</h1>\n"
    )
