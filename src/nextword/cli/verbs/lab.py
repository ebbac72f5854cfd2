"""`nextword lab`: a page in the browser on which one sees how a model draws each token."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_ENGINE,
    AdapterArguments,
    EngineOptions,
    ModelArgument,
    engine_options,
    named_folders,
)
from nextword.cli.console import ProgressLine, note
from nextword.lab.open_lab import DEFAULT_MODEL, open_lab


@dataclasses.dataclass(frozen=True)
class Options:
    """Open the lab: a page that shows, for each token of a text, what it was drawn from, and lets one change it."""

    model: ModelArgument = DEFAULT_MODEL
    port: int = 8080
    """Port to listen on; 0: a free one."""
    adapters: AdapterArguments = ()
    """Adapter to offer beside the model, as a model of this name; repeatable."""
    compare: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Second model to offer beside the first: a name, a path, or the folder of an adapter."""
    no_browser: bool = False
    """Do not open the page in the browser."""
    engine: EngineOptions = DEFAULT_ENGINE


def run(options: Options) -> None:
    """Serve the lab until a signal ends it."""
    with ProgressLine() as line:

        def ready(url: str) -> None:
            line.clear()
            models = " and ".join(filter(None, (options.model, options.compare)))
            note(f"the lab of {models} is at {url}; Ctrl-C ends it")

        open_lab(
            options.model,
            port=options.port,
            adapters=named_folders(options.adapters),
            compare=options.compare,
            no_browser=options.no_browser,
            on_ready=ready,
            on_progress=line.update,
            **engine_options(options.engine),
        )
