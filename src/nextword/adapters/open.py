"""`open_adapted`: open a model by name, with an adapter merged into it if one is named.

The code of adapters is imported only if there is one: opening a model must stay quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from nextword.adapters.spec import PROMPT_KINDS
from nextword.checkpoints.catalogue import chat_defaults, resolve
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_model_directory
from nextword.errors import CheckpointError
from nextword.json_file import read_json_object
from nextword.text.choose_template import TEMPLATE_NAME

AdapterFolders = Annotated[Mapping[str, str | Path], 'a mapping such as {"name": "folder"}']

_CONFIG_NAME = "adapter_config.json"


def open_merged(model: str | ModelDirectory, adapter: str | None = None) -> ModelDirectory:
    """Open a model as `open_adapted` does, or take an open one, to write its weights.

    Raises CheckpointError as `open_adapted`, and for a trained prompt, which changes no weight and cannot be merged.
    """
    if isinstance(model, str):
        directory, name = open_adapted(model, adapter), model
    else:
        directory, name = _with_adapter(model, adapter), str(model.path)
    if directory.num_virtual_tokens:
        raise CheckpointError(
            f"{adapter or name}: a trained prompt precedes every text and changes no weight, so it cannot be merged; "
            "it stays an adapter"
        )
    return directory


def open_adapted(name: str, adapter: str | None = None) -> ModelDirectory:
    """Open the model that a name means, with the adapter merged if one is named, or if the name is an adapter's.

    Raises CheckpointError as `open_model_directory`, and for an adapter that is damaged or of another model.
    """
    path = resolve(name)
    if _is_adapter(path):
        if adapter is not None:
            raise CheckpointError(f"{path}: is an adapter itself; name the base model of both")
        return _open_by_adapter(path)
    directory = _open_model(path)
    return directory if adapter is None else _merge(directory, adapter_folder(adapter))


def _with_adapter(directory: ModelDirectory, adapter: str | None) -> ModelDirectory:
    if adapter is None:
        return directory
    if directory.adapter is not None or directory.num_virtual_tokens:
        raise CheckpointError(f"{directory.path}: has an adapter already; give the base model of both")
    return _merge(directory, adapter_folder(adapter))


def _open_model(path: Path) -> ModelDirectory:
    """Open a model, with its chat settings from the catalogue."""
    return dataclasses.replace(open_model_directory(path), chat_defaults=chat_defaults(path))


def _is_adapter(path: Path) -> bool:
    return (path / _CONFIG_NAME).exists() and not (path / "config.json").exists()


def adapter_folder(adapter: str) -> Path:
    """Return the folder or GGUF file that the name of an adapter means. Raises CheckpointError if it holds none."""
    path = resolve(adapter)
    if not path.is_file() and not (path / _CONFIG_NAME).exists():
        raise CheckpointError(f"{path}: no {_CONFIG_NAME}, so no adapter")
    return path


def _open_by_adapter(path: Path) -> ModelDirectory:
    from nextword.adapters.adapter_files import base_name
    from nextword.models.families.fields import ConfigFields

    config_path = path / _CONFIG_NAME
    base = base_name(ConfigFields(read_json_object(config_path), str(config_path)))
    if base is None:
        raise CheckpointError(f"{path}: does not say which model it adapts; name the model, and this as its adapter")
    return _merge(_open_model(resolve(base)), path)


def is_prompt(adapter: Path) -> bool:
    """Return True if an adapter is a trained prompt."""
    return adapter.is_dir() and read_json_object(adapter / _CONFIG_NAME).get("peft_type") in PROMPT_KINDS


def _merge(directory: ModelDirectory, adapter: Path) -> ModelDirectory:
    from nextword.adapters import prompt
    from nextword.adapters.folder import open_adapter_for
    from nextword.adapters.merge import with_adapter

    if is_prompt(adapter):
        adapted = prompt.with_prompt(directory, prompt.open_prompt(adapter))
    else:
        adapted = with_adapter(directory, open_adapter_for(directory.config, adapter))
    return dataclasses.replace(_with_template(adapted, adapter / TEMPLATE_NAME), adapter=adapter)


def _with_template(directory: ModelDirectory, path: Path) -> ModelDirectory:
    """Give the model the chat template that the adapter was trained with, if its folder has one."""
    if not path.is_file():
        return directory
    from nextword.text.named_templates import with_chat_template

    return dataclasses.replace(directory, load_tokenizer=lambda: with_chat_template(directory.tokenizer, path)[0])
