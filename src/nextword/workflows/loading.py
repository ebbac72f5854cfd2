"""Load a model and say how far it is, where that takes long. Imports nothing that can come while weights are packed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from nextword.adapters.open import AdapterFolders
from nextword.checkpoints.model_directory import without_collections
from nextword.inference.backend import BackendName, Weights
from nextword.loading import load
from nextword.workflows.progress import OnProgress, Progress, ignore_progress

if TYPE_CHECKING:
    from nextword.language_model import LanguageModel

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


def load_with_progress(
    name: str | Path,
    on_progress: OnProgress = ignore_progress,
    *,
    adapters: AdapterFolders | None = None,
    **options: Unpack[LoadOptions],
) -> LanguageModel:
    """Load a model as `load` does; `on_progress` hears of it, and of shares once it takes long. Raises as `load`."""
    on_progress(Progress(f"loading {name} ..."))
    begin = time.perf_counter()

    def show(share: float) -> None:
        if time.perf_counter() - begin > _QUICK_SECONDS:
            on_progress(Progress(f"loading {name} ... {share:.0%}"))

    with without_collections():  # what loading makes stays alive
        return load(name, adapters=adapters, on_progress=show, **options)
