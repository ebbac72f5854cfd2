"""`plot`: a drawing on matplotlib's axes in, a figure for a page out, as SVG within the page.

The drawing itself is left to who knows the numbers: `plot(lambda axes: axes.bar(names, heights), caption="...")`.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from nextword.errors import MissingExtraError
from nextword.evaluation.html.page import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the reader's font
    "svg.hashsalt": "nextword",  # the same figure gives the same bytes
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_matplotlib() -> None:
    """For those who measure long before they plot. Raises MissingExtraError without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib is not installed: pip install 'nextword[eval]'") from None


def plot(
    draw: Callable[[Axes], object], *, caption: str, width: float = 8.0, height: float = 3.5, alt: str = ""
) -> Html:
    """A figure of `width` x `height` inches that `draw` fills, with its caption. `alt`: for those who cannot see it.

    Raises MissingExtraError without matplotlib.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt or caption)}" ', 1)
    return Html(f"<figure>\n{svg}<figcaption>{html.escape(caption)}</figcaption></figure>")
