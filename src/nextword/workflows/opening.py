"""Open the model that a workflow is given: a name, a path, or a model that is loaded already."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypedDict, Unpack

from nextword.checkpoints.model_directory import without_collections
from nextword.errors import RequestError
from nextword.inference.backend import BackendName, Weights
from nextword.language_model import AdapterFolders, LanguageModel, load
from nextword.workflows.progress import OnProgress, Progress, ignore_progress

ModelSource = str | Path | LanguageModel
"""A name or path as `load` takes it, or a loaded model."""
_QUICK_SECONDS = 2.0
"""Loading that takes longer shows how far it is."""


class LoadOptions(TypedDict, total=False):
    """Keywords of `load`, which workflows pass on to it."""

    adapter: str | Path | None
    backend: BackendName
    weights: Weights
    num_threads: int | None
    speculation: bool
    amateur: str | Path | None
    draft_model: str | Path | None


def open_model(
    model: ModelSource,
    on_progress: OnProgress = ignore_progress,
    *,
    adapters: AdapterFolders | None = None,
    **options: Unpack[LoadOptions],
) -> LanguageModel:
    """Load a model unless it is loaded. Raises as `load`, and RequestError for options of a loaded model."""
    if isinstance(model, LanguageModel):
        given = [*options, *(["adapters"] if adapters else [])]
        if given:
            raise RequestError(f"{', '.join(given)}: the model is loaded already, give its name instead")
        return model
    on_progress(Progress(f"loading {model} ..."))
    begin = time.perf_counter()

    def show(share: float) -> None:
        if time.perf_counter() - begin > _QUICK_SECONDS:
            on_progress(Progress(f"loading {model} ... {share:.0%}"))

    with without_collections():  # what loading makes stays alive
        return load(model, adapters=adapters, on_progress=show, **options)


def name_of(model: ModelSource) -> str:
    """Return the name by which reports call a model: the one given, or the path of a loaded model."""
    return str(model.directory.path if isinstance(model, LanguageModel) else model)
