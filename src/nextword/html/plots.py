"""`plot`: a function that draws on matplotlib's axes in; inline SVG for a page, or a file, out.

The caller draws: `plot(lambda axes: axes.bar(names, heights), caption="...")`.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.atomic_file import write_atomically
from nextword.errors import DataError, MissingExtraError, os_reason
from nextword.html.page import Html, require_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Draw = Callable[[Axes], object]

_DOTS_PER_INCH = 120
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text, which can be searched and uses the reader's font
    "svg.hashsalt": "nextword",  # the same figure gives the same bytes
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_matplotlib() -> None:
    """Check for matplotlib, before a long measurement. Raises MissingExtraError without it."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib is not installed: pip install 'nextword[eval]'") from None


def require_page(path: Path | str | None) -> None:
    """Check before a long measurement that a page with plots can be written at `path`; None: no page.

    Raises DataError for a path that cannot be written, MissingExtraError without matplotlib.
    """
    if path is not None:
        require_folder(path)
        require_matplotlib()


def plot(draw: Draw, *, caption: str, width: float = 8.0, height: float = 3.5, alt: str = "") -> Html:
    """Return a figure of `width` x `height` inches that `draw` fills, with its caption. `alt`: for screen readers.

    Raises MissingExtraError without matplotlib.
    """
    svg = _drawn(draw, width, height, "svg").decode()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt or caption)}" ', 1)
    return Html(f"<figure>\n{svg}<figcaption>{html.escape(caption)}</figcaption></figure>")


def save_plot(path: Path, draw: Draw, *, width: float = 8.0, height: float = 3.5) -> None:
    """Write the same drawing to a .png or .svg file.

    Raises MissingExtraError without matplotlib, DataError if writing fails.
    """
    drawn = _drawn(draw, width, height, path.suffix.removeprefix("."))
    try:
        with write_atomically(path) as out:
            out.write(drawn)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {os_reason(error)}") from None


def _drawn(draw: Draw, width: float, height: float, form: str) -> bytes:
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        written = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(written, format=form, dpi=_DOTS_PER_INCH, metadata=metadata)
    return written.getvalue()
