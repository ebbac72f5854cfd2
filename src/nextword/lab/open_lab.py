"""`open_lab`: a model in, its lab in the browser until a signal ends it."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from nextword.adapters.open import AdapterFolders
from nextword.checks import checked_arguments
from nextword.errors import RequestError
from nextword.extras import needs_extra
from nextword.language_model import LanguageModel
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, open_model
from nextword.workflows.progress import OnProgress, ignore_progress
from nextword.workflows.serve import OnReady, ignore_address

if TYPE_CHECKING:
    from nextword.serving.service import Service

_HOST = "127.0.0.1"
DEFAULT_MODEL = "smollm2-135m"
_OF_FIRST: tuple[Literal["adapter", "amateur", "draft_model"], ...] = ("adapter", "amateur", "draft_model")
"""Options of `load` that name files which belong to one model."""


@checked_arguments
def open_lab(
    model: str | Path | LanguageModel = DEFAULT_MODEL,
    *,
    port: int = 8080,
    adapters: AdapterFolders | None = None,
    compare: str | Path | LanguageModel | None = None,
    no_browser: bool = False,
    on_ready: OnReady = ignore_address,
    on_progress: OnProgress = ignore_progress,
    **options: Unpack[LoadOptions],
) -> None:
    """Serve a model as `serve` does, and beside it the lab, a page on which each draw is seen; until Ctrl-C.

    Only this machine can reach it. `adapters`: folders by the names under which the page offers them as models.
    `compare`: a second model that the page offers, with weights and a cache of its own; `adapter`, `amateur` and
    `draft_model` are not for it. `no_browser`: do not open the page. `on_ready`: called with its address. Other
    keywords: those of `load`. Raises RequestError for a port that is taken, and as `load`.
    """
    with needs_extra("serve"):
        from nextword.lab.routes import lab_routes
        from nextword.serving.security import Access
        from nextword.serving.server import listen, run
        from nextword.serving.service import Service

    bound = listen(_HOST, port)

    def ready() -> None:
        on_ready(url := f"http://{_HOST}:{bound.getsockname()[1]}/lab/")
        if not no_browser:
            _open_page(url)

    def open_service() -> Service:
        lm = open_model(model, on_progress, adapters=adapters, **options)
        second = None if compare is None else _open_second(compare, lm, on_progress, options)
        return _prepared(Service(lm), second)

    run(open_service, bound, Access(), ready, routes=lab_routes())


def _open_page(url: str) -> None:
    """Open the page, in a thread: some browsers come back only when they are closed."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _prepared(service: Service, second: LanguageModel | None) -> Service:
    """Return a service with the second model beside its own, ready to search their vocabularies."""
    if second is not None:
        service.serve_beside(second)
    for one in service.services:
        one.vocabulary.prepare()
    return service


def _open_second(
    compare: ModelSource, first: LanguageModel, on_progress: OnProgress, options: LoadOptions
) -> LanguageModel:
    """Open the second model with those options of the first that hold for both."""
    if compare is first:
        raise RequestError("compare: is the model itself; choose another one")
    shared: LoadOptions = {**options}
    for name in options if isinstance(compare, LanguageModel) else _OF_FIRST:
        shared.pop(name, None)  # type: ignore[misc]
    return open_model(compare, on_progress, **shared)
