"""Merging of an adapter into the weights of a model directory.

PyTorch is not needed, so every backend runs an adapted model like any other. Matrices are merged when they are read, in
float32, then rounded to the type of the base; quantised ones become float32.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import cast

from nextword.adapters.folder import Adapter
from nextword.adapters.sites import Site
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.models.config import ModelConfig
from nextword.models.families.published_weights import LazyTensors
from nextword.models.stored_tensor import FloatDtype, StoredTensor


def with_adapter(directory: ModelDirectory, adapter: Adapter) -> ModelDirectory:
    """Merge an adapter into a model. Raises CheckpointError if they do not fit each other."""
    return dataclasses.replace(directory, tensors=merged_tensors(directory.config, directory.tensors, adapter))


def merged_tensors(
    config: ModelConfig, tensors: Mapping[str, StoredTensor], adapter: Adapter
) -> Mapping[str, StoredTensor]:
    """Return the weights with the adapter merged, by name; they are computed when read. Raises CheckpointError."""
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
