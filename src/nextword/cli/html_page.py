"""What verbs with `--html` ask before they measure for minutes: whether the page can be written then."""

from __future__ import annotations


def require_page(path: str | None) -> None:
    """Raises DataError if no page can be at `path`, MissingExtraError without what draws its plots; None: no page."""
    if path is None:
        return
    from nextword.html.page import require_folder
    from nextword.html.plots import require_matplotlib

    require_folder(path)
    require_matplotlib()
