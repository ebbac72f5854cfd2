"""`open_adapted`: the name of a model and perhaps an adapter in, one model directory out.

What adapters are is imported only where there is one: opening a model must stay quick.
"""

from __future__ import annotations

from pathlib import Path

from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_model_directory
from nextword.errors import CheckpointError

_CONFIG_NAME = "adapter_config.json"


def open_adapted(name: str, adapter: str | None = None) -> ModelDirectory:
    """The model that a name means, with an adapter merged into it if one is named, or if the name is an adapter's.

    Raises CheckpointError as `open_model_directory`, and for an adapter that is damaged or of another model.
    """
    path = resolve(name)
    if _is_adapter(path):
        if adapter is not None:
            raise CheckpointError(f"{path}: is an adapter itself; name the model that both belong to")
        return _open_by_adapter(path)
    directory = open_model_directory(path)
    return directory if adapter is None else _merge(directory, _existing(adapter))


def _is_adapter(path: Path) -> bool:
    return (path / _CONFIG_NAME).exists() and not (path / "config.json").exists()


def _existing(adapter: str) -> Path:
    path = resolve(adapter)
    if not (path / _CONFIG_NAME).exists():
        raise CheckpointError(f"{path}: no {_CONFIG_NAME}, so no adapter")
    return path


def _open_by_adapter(path: Path) -> ModelDirectory:
    from nextword.adapters.folder import open_adapter

    base = open_adapter(path).base
    if base is None:
        raise CheckpointError(f"{path}: does not say which model it adapts; name the model, and this as its adapter")
    return _merge(open_model_directory(resolve(base)), path)


def _merge(directory: ModelDirectory, adapter: Path) -> ModelDirectory:
    from nextword.adapters.folder import open_adapter
    from nextword.adapters.merge import with_adapter

    return with_adapter(directory, open_adapter(adapter))
