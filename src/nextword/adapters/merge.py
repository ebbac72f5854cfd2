"""Adapters merged into weights: a model directory and an adapter in, a model directory without an adapter out.

PyTorch is not needed, so that every backend runs an adapted model as it runs any other. Matrices are merged when they
are asked for, in float32, then rounded to the base's own type; quantised ones become float32.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from nextword.adapters.folder import Adapter, is_adapter, open_adapter
from nextword.adapters.sites import Site
from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_model_directory
from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.families.published_weights import LazyTensors
from nextword.models.stored_tensor import FloatDtype, StoredTensor


def open_adapted(name: str, adapter: str | None = None) -> ModelDirectory:
    """The model that a name means, with an adapter merged into it if one is named, or if the name is an adapter's.

    Raises CheckpointError as `open_model_directory`, and for an adapter that is damaged or of another model.
    """
    path = resolve(name)
    if path.is_dir() and is_adapter(path):
        return _open_by_adapter(path, adapter)
    directory = open_model_directory(path)
    return directory if adapter is None else with_adapter(directory, open_adapter(_existing(adapter)))


def with_adapter(directory: ModelDirectory, adapter: Adapter) -> ModelDirectory:
    """The model with the adapter merged into its weights. Raises CheckpointError if they do not belong together."""
    return dataclasses.replace(directory, tensors=merged_tensors(directory.config, directory.tensors, adapter))


def merged_tensors(
    config: ModelConfig, tensors: Mapping[str, StoredTensor], adapter: Adapter
) -> Mapping[str, StoredTensor]:
    """The weights, by our names, of a model that computes the same without the adapter. Raises CheckpointError."""
    makers: dict[str, Callable[[], StoredTensor]] = {
        name: functools.partial(tensors.__getitem__, name) for name in tensors
    }
    for site in adapter.sites(config):
        for index, part in enumerate(site.parts):
            for kind in ("weight", "bias"):
                name = f"{part.module}.{kind}"
                if name in tensors:
                    makers[name] = functools.partial(_merged, tensors, adapter, site, index, name)
    return LazyTensors(makers)


def _merged(tensors: Mapping[str, StoredTensor], adapter: Adapter, site: Site, index: int, name: str) -> StoredTensor:
    module, _, kind = name.rpartition(".")
    base = tensors[name]
    weight = tensors[f"{module}.weight"].to_float32()
    bias_name = f"{module}.bias"
    bias = tensors[bias_name].to_float32() if bias_name in tensors else None
    merged = adapter.method.merged(adapter.spec, site, weight, bias, adapter.of_part(site, index))
    values = merged[0] if kind == "weight" else merged[1]
    assert values is not None, "a bias stays one"
    dtype = "F32" if base.is_quantized else cast("FloatDtype", base.dtype)
    return StoredTensor(name, "F32", base.shape, values).encoded_as(dtype)


def _open_by_adapter(path: Path, adapter: str | None) -> ModelDirectory:
    if adapter is not None:
        raise CheckpointError(f"{path}: is itself an adapter; name the model that both adapters belong to, and merge")
    opened = open_adapter(path)
    if opened.base is None:
        raise CheckpointError(f"{path}: does not say which model it adapts; name the model, and this as its adapter")
    return with_adapter(open_model_directory(resolve(opened.base)), opened)


def _existing(adapter: str) -> Path:
    path = resolve(adapter)
    if not is_adapter(path):
        raise CheckpointError(f"{path}: no adapter_config.json, so no adapter")
    return path
