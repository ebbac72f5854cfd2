"""`list_models`: the models of the catalogue, of the Hugging Face cache, or of given folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nextword.checkpoints.catalogue import CATALOGUE, CatalogueEntry, is_pulled, model_path
from nextword.checkpoints.checksums import find_changed
from nextword.checkpoints.hub import cached_models, cached_path
from nextword.checkpoints.hub_catalogue import HUB_CATALOGUE, HubEntry
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checks import checked_arguments
from nextword.errors import CheckpointError, NextwordError, os_reason
from nextword.plain_text import count, text_table

_COLUMNS = ("model", "family", "size", "format", "weights", "licence", "remark")
_LEFT = {*range(len(_COLUMNS))} - {_COLUMNS.index("size")}
"""Columns that are aligned to the left."""
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedModel:
    """Description of a model; fields are None where its files lack them or cannot be read."""

    name: str
    """Name or path that `load` takes."""
    path: str | None
    """File or folder; None if it is not on this machine."""
    family: str | None = None
    """Architecture, such as llama."""
    size_bytes: int | None = None
    """Size of the files with the weights."""
    format: str | None = None
    """"hf" or "gguf"."""
    weights: str | None = None
    """Type of most weights of a layer: F32, BF16, Q4_K, ..."""
    license: str | None = None
    """Licence that the publisher names."""
    is_local: bool = True
    """True if it is on this machine."""
    problem: str | None = None
    """Reason why it cannot be opened."""
    is_verified: bool | None = None
    """True if its files were compared with their published checksums; None: not asked for, or none are known."""


@dataclasses.dataclass(frozen=True)
class ModelList:
    """Models to iterate over; `print` shows a table."""

    models: tuple[ListedModel, ...]
    """Models in the order of the table."""

    def __iter__(self) -> Iterator[ListedModel]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        return f"ModelList({count(len(self.models), 'model')})"

    def __str__(self) -> str:
        return text_table(_COLUMNS, [_cells(model) for model in self.models], left=_LEFT)

    def _repr_html_(self) -> str:
        from nextword.html.notebook import table_block

        return table_block(_COLUMNS, [_cells(model) for model in self.models], left=_LEFT)

    def to_json(self) -> list[dict[str, object]]:
        """Return plain values."""
        return [dataclasses.asdict(model) for model in self.models]


@checked_arguments
def list_models(*paths: str | Path, verify: bool = False) -> ModelList:
    """List the models of the catalogue and of the Hugging Face cache, or those in the given folders and files.

    `verify`: read all weights of downloaded models, and compare their SHA-256 with the published ones; without it a
    file is only checked when its download ends. A damaged model is listed with its problem. Raises CheckpointError for
    a path that does not exist, RequestError for what is no path.
    """
    models = _models_at(paths) if paths else [*_catalogue_models(), *_hub_catalogue_models(), *_hub_models()]
    return ModelList(tuple(map(_verified, models) if verify else models))


def _verified(model: ListedModel) -> ListedModel:
    """Compare the files of a model with their checksums."""
    if model.path is None or model.problem is not None:
        return model
    try:
        num_known, changed = find_changed(Path(model.path))
    except OSError as error:
        return dataclasses.replace(model, problem=f"cannot be read: {os_reason(error)}")
    if changed is None:
        return dataclasses.replace(model, is_verified=True if num_known else None)
    problem = f"{changed}: another SHA-256 than published: delete it, then nextword pull {model.name}"
    return dataclasses.replace(model, is_verified=False, problem=problem)


def _catalogue_models() -> Iterator[ListedModel]:
    return map(_catalogue_model, CATALOGUE.values())


def _catalogue_model(entry: CatalogueEntry) -> ListedModel:
    if is_pulled(entry):
        return dataclasses.replace(_described(entry.name, model_path(entry)), license=entry.license)
    return ListedModel(
        name=entry.name,
        path=None,
        family=entry.family,
        size_bytes=entry.size_bytes,
        format="gguf",
        license=entry.license,
        is_local=False,
    )


def _hub_catalogue_models() -> Iterator[ListedModel]:
    return map(_hub_catalogue_model, HUB_CATALOGUE.values())


def _hub_catalogue_model(entry: HubEntry) -> ListedModel:
    path = cached_path(entry.hub_name)
    if path is not None:
        return dataclasses.replace(_described(entry.name, path), license=entry.license)
    return ListedModel(
        name=entry.name,
        path=None,
        family=entry.family,
        size_bytes=entry.size_bytes,
        format="gguf" if entry.hub_name.is_gguf else "hf",
        license=entry.license,
        is_local=False,
    )


def _hub_models() -> Iterator[ListedModel]:
    """Describe what lies in the Hub's cache and has no short name."""
    listed = {cached_path(entry.hub_name) for entry in HUB_CATALOGUE.values()}
    return (_described(str(name), path) for name, path in cached_models() if path not in listed)


def _models_at(paths: Sequence[str | Path]) -> Iterator[ListedModel]:
    for path in map(Path, paths):
        if not os.path.exists(path):
            raise CheckpointError(f"{path}: no such file or folder")
        found = [path] if path.is_file() else [*_models_below(path)]
        yield from (_described(str(model), model) for model in found)


def _models_below(folder: Path) -> Iterator[Path]:
    """Yield model folders and GGUF files; model folders are not searched."""
    for place, folders, files in os.walk(folder):
        if "config.json" in files and any(file.endswith(_WEIGHT_SUFFIXES) for file in files):
            folders.clear()
            yield Path(place)
        folders.sort()
        yield from (Path(place, file) for file in sorted(files) if file.endswith(".gguf"))


def _described(name: str, path: Path) -> ListedModel:
    try:
        model = open_model_directory(path)
        return ListedModel(
            name=name,
            path=str(path),
            family=model.config.family,
            size_bytes=model.size_bytes,
            format=model.format,
            weights=model.weights_dtype,
            license=model.license,
        )
    except (NextwordError, OSError) as error:
        return ListedModel(name=name, path=str(path), problem=" ".join(str(error).split()))


def _cells(model: ListedModel) -> tuple[str, ...]:
    known = (model.family, _size(model.size_bytes), model.format, model.weights, model.license)
    remarks = (
        "checksum is right" if model.is_verified else "",
        "not tested here" if model.name in HUB_CATALOGUE else "",
        _chat_settings(model.name) if model.is_local else f"not here: nextword pull {model.name}",
    )
    return (model.name, *(cell or "-" for cell in known), model.problem or "; ".join(filter(None, remarks)))


def _chat_settings(name: str) -> str:
    """Return the publisher's settings that chat uses with a model of the catalogue; "" for other models."""
    entry = CATALOGUE.get(name) or HUB_CATALOGUE.get(name)
    settings = entry.chat_defaults if entry else {}
    words = ", ".join(f"{option.replace('_', '-')} {value}" for option, value in settings.items())
    return f"chat: {words}" if words else ""


def _size(size_bytes: int | None) -> str | None:
    if size_bytes is None:
        return None
    unit, bytes_each = ("GB", 1e9) if size_bytes >= 1e9 else ("MB", 1e6) if size_bytes >= 1e6 else ("kB", 1e3)
    number = size_bytes / bytes_each
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
