"""`nextword serve`: a model behind HTTP, in the form of OpenAI's API."""

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
from nextword.workflows.serve import DEFAULT_LIMITS, Limits, serve


@dataclasses.dataclass(frozen=True)
class Options:
    """Serve a model over HTTP; any client of OpenAI's API can talk with it."""

    model: ModelArgument
    host: str = "127.0.0.1"
    """Address to listen on; others than this machine's own need a key."""
    port: int = 8080
    """Port to listen on; 0: a free one."""
    adapters: AdapterArguments = ()
    """Adapter to serve beside the model, as a model of this name; repeatable."""
    alias: str | None = None
    """Name of the model for clients, in the place of its own."""
    api_key: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Key that clients must send; repeatable. Others on this machine can see it: NEXTWORD_API_KEY hides it."""
    api_key_file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """File with a key in each line."""
    no_auth: bool = False
    """Allow an address that others can reach without a key."""
    allowed_hosts: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Name of the server, besides localhost, that a request may have in its Host header; repeatable."""
    cors_origins: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Origin of pages that may call the server from a browser; repeatable."""
    lenient: bool = False
    """Ignore fields of requests that are not known, instead of refusing them."""
    limits: Limits = DEFAULT_LIMITS
    engine: EngineOptions = DEFAULT_ENGINE


def run(options: Options) -> None:
    """Serve until a signal ends it."""
    adapters = named_folders(options.adapters)
    with ProgressLine() as line:

        def ready(url: str) -> None:
            line.clear()
            note(f"{options.model} is served at {url}/v1; Ctrl-C ends it")

        serve(
            options.model,
            host=options.host,
            port=options.port,
            adapters=adapters,
            alias=options.alias,
            api_key=options.api_key,
            api_key_file=options.api_key_file,
            no_auth=options.no_auth,
            allowed_hosts=options.allowed_hosts,
            cors_origins=options.cors_origins,
            lenient=options.lenient,
            on_ready=ready,
            on_progress=line.update,
            **dataclasses.asdict(options.limits),
            **engine_options(options.engine),
        )
