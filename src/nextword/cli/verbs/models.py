"""`nextword models`: what is on this machine: the catalogue, the cache of the Hugging Face Hub, or given folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.console import note, text_table
from nextword.errors import CheckpointError, NextwordError

if TYPE_CHECKING:
    from nextword.checkpoints.catalogue import CatalogueEntry

_HEAD = ("model", "family", "size", "format", "weights", "licence", "remark")
_SIZE_COLUMN = _HEAD.index("size")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


@dataclasses.dataclass(frozen=True)
class Options:
    """List the models of the catalogue and of the Hugging Face cache, or those in given folders."""

    path: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[PATH ...]")] = ()
    """Folders to search for model folders and .gguf files, or such a folder or file itself."""
    json: bool = False
    """Print a JSON list."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of a model; None where its files do not say or cannot be read."""

    name: str
    """To be given as MODEL."""
    path: str | None
    """Where it lies; None if it is not here."""
    family: str | None = None
    size_bytes: int | None = None
    """Of the files with the weights."""
    format: str | None = None
    """"hf" or "gguf"."""
    weights: str | None = None
    """How most numbers of a layer are stored: F32, BF16, Q4_K, ..."""
    license: str | None = None
    is_local: bool = True
    problem: str | None = None
    """Why it cannot be opened."""


def run(options: Options) -> None:
    """A line for each model under a line of headings."""
    rows = [*_rows_below(options.path)] if options.path else [*_catalogue_rows(), *_hub_rows()]
    if options.json:
        from nextword.cli.json_output import print_json

        print_json([dataclasses.asdict(row) for row in rows])
    elif rows:
        print(text_table(_HEAD, [*map(_cells, rows)], left={*range(len(_HEAD))} - {_SIZE_COLUMN}))
    else:
        note(f"no models in {', '.join(options.path)}")


def _catalogue_rows() -> Iterator[Row]:
    from nextword.checkpoints.catalogue import CATALOGUE

    return map(_catalogue_row, CATALOGUE.values())


def _catalogue_row(entry: CatalogueEntry) -> Row:
    from nextword.checkpoints.catalogue import is_pulled, model_path

    if is_pulled(entry):
        return dataclasses.replace(_row(entry.name, model_path(entry)), license=entry.license)
    return Row(
        name=entry.name,
        path=None,
        family=entry.family,
        size_bytes=entry.size_bytes,
        format="gguf",
        license=entry.license,
        is_local=False,
    )


def _hub_rows() -> Iterator[Row]:
    from nextword.checkpoints.hub import cached_models

    return (_row(str(name), path) for name, path in cached_models())


def _rows_below(paths: Sequence[str]) -> Iterator[Row]:
    for path in map(Path, paths):
        if not os.path.exists(path):
            raise CheckpointError(f"{path}: no such file or folder")
        found = [path] if path.is_file() else [*_models_below(path)]
        yield from (_row(str(model), model) for model in found)


def _models_below(folder: Path) -> Iterator[Path]:
    """Model folders and GGUF files; a model folder is not searched for others."""
    for place, folders, files in os.walk(folder):
        if "config.json" in files and any(file.endswith(_WEIGHT_SUFFIXES) for file in files):
            folders.clear()
            yield Path(place)
        folders.sort()
        yield from (Path(place, file) for file in sorted(files) if file.endswith(".gguf"))


def _row(name: str, path: Path) -> Row:
    from nextword.checkpoints.open_directory import open_model_directory

    try:
        model = open_model_directory(path)
        return Row(
            name=name,
            path=str(path),
            family=model.config.family,
            size_bytes=model.size_bytes,
            format=model.format,
            weights=model.weights_dtype,
            license=model.license,
        )
    except (NextwordError, OSError) as error:
        return Row(name=name, path=str(path), problem=" ".join(str(error).split()))


def _cells(row: Row) -> tuple[str, ...]:
    known = (row.family, _size(row.size_bytes), row.format, row.weights, row.license)
    remark = row.problem or (_chat_settings(row.name) if row.is_local else f"not here: nextword pull {row.name}")
    return (row.name, *(cell or "-" for cell in known), remark)


def _chat_settings(name: str) -> str:
    """Show the publisher's settings that chat uses with a model of the catalogue; "" for other models."""
    from nextword.checkpoints.catalogue import CATALOGUE

    settings = CATALOGUE[name].chat_defaults if name in CATALOGUE else {}
    words = ", ".join(f"{option.replace('_', '-')} {value}" for option, value in settings.items())
    return f"chat: {words}" if words else ""


def _size(size_bytes: int | None) -> str | None:
    if size_bytes is None:
        return None
    unit, bytes_each = ("GB", 1e9) if size_bytes >= 1e9 else ("MB", 1e6) if size_bytes >= 1e6 else ("kB", 1e3)
    number = size_bytes / bytes_each
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
