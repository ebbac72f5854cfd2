"""Open the model that a workflow is given: a name, a path, or a model that is loaded already."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from nextword.adapters.open import AdapterFolders
from nextword.errors import RequestError
from nextword.language_model import LanguageModel
from nextword.workflows.loading import LoadOptions, load_with_progress
from nextword.workflows.progress import OnProgress, ignore_progress

ModelSource = str | Path | LanguageModel
"""A name or path as `load` takes it, or a loaded model."""


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
    return load_with_progress(model, on_progress, adapters=adapters, **options)


def name_of(model: ModelSource) -> str:
    """Return the name by which reports call a model: the one given, or the path of a loaded model."""
    return str(model.directory.path if isinstance(model, LanguageModel) else model)
