"""`serve`: a model and an address in, an HTTP server in OpenAI's form until a signal ends it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack, cast

from nextword.adapters.open import AdapterFolders
from nextword.checks import checked_arguments
from nextword.data.utf8 import read_text
from nextword.errors import RequestError
from nextword.extras import needs_extra
from nextword.language_model import LanguageModel
from nextword.serving.limits import DEFAULT_LIMITS as DEFAULT_LIMITS
from nextword.serving.limits import LimitOptions
from nextword.serving.limits import Limits as Limits
from nextword.serving.open_files import with_open_files
from nextword.serving.security import Access, check_exposure, read_keys
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import open_model
from nextword.workflows.progress import OnProgress, ignore_progress

KEY_VARIABLE = "NEXTWORD_API_KEY"
"""Environment variable with a key, which is no argument that other users of the machine can see."""


OnReady = Callable[[str], None]
"""Called with the server's address once it answers."""


class ServeOptions(LoadOptions, LimitOptions, total=False):
    """Keywords of `serve`: how the model is loaded, and the fields of `Limits`."""


def ignore_address(url: str) -> None:
    """Do nothing: the default of `on_ready`."""


@checked_arguments
def serve(
    model: str | Path | LanguageModel,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    adapters: AdapterFolders | None = None,
    alias: str | None = None,
    api_key: str | Sequence[str] = (),
    api_key_file: str | Path | None = None,
    no_auth: bool = False,
    allowed_hosts: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    lenient: bool = False,
    on_ready: OnReady = ignore_address,
    on_progress: OnProgress = ignore_progress,
    **options: Unpack[ServeOptions],
) -> None:
    """Serve a model over HTTP, in the form of OpenAI's API, until SIGTERM or Ctrl-C; then finish what runs.

    `adapters`: folders by the names under which clients ask for them as models. `alias`: name of the model for clients.
    `api_key`: keys of which a client must send one, `api_key_file`: a file with one in each line; the environment
    variable NEXTWORD_API_KEY adds one. `no_auth`: allow an address that others can reach without any. `allowed_hosts`:
    names of the server besides localhost. `cors_origins`: pages that may call it. `lenient`: ignore unknown fields of
    requests. `on_ready`: called with the server's address. Other keywords: those of `load`, and the fields of `Limits`.
    Raises RequestError for an address that is taken or open to others, and as `load`.
    """
    with needs_extra("serve"):
        from nextword.serving.server import listen, run
        from nextword.serving.service import Service

    limits, loading = _separated(options)
    access = Access(_keys(api_key, api_key_file), tuple(allowed_hosts), tuple(cors_origins))
    check_exposure(host, access, no_auth=no_auth)

    def open_service() -> Service:
        lm = open_model(model, on_progress, adapters=adapters, **loading)
        return Service(lm, limits=limits, alias=alias, lenient=lenient)

    bound = listen(host, port)
    run(open_service, bound, access, lambda: on_ready(_url(host, bound)))


def _url(host: str, bound: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound.getsockname()[1]}"


def _separated(options: ServeOptions) -> tuple[Limits, LoadOptions]:
    """Return the limits among the options of `serve`, and what is for `load`."""
    known = {field.name for field in dataclasses.fields(Limits)}
    limits = Limits(**{name: value for name, value in options.items() if name in known})  # type: ignore[arg-type]
    return with_open_files(limits), cast(
        LoadOptions, {name: value for name, value in options.items() if name not in known}
    )


def _keys(given: str | Sequence[str], file: str | Path | None) -> tuple[str, ...]:
    """Return all keys: those given, of the file, and of the environment."""
    given = [given] if isinstance(given, str) else given
    lines: list[str] = []
    if file is not None:
        lines = [line for line in read_text(Path(file)).splitlines() if line.strip()]
        if not lines:
            raise RequestError(f"{file}: holds no key; write one into each line")
    found = os.environ.get(KEY_VARIABLE)
    return read_keys([*given, *lines, *([found] if found else [])])
