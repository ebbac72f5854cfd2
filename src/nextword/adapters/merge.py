"""Adapters merged into weights: a model directory and an adapter in, a model directory without an adapter out.

PyTorch is not needed, so that every backend runs an adapted model as it runs any other. Matrices are merged when they
are asked for, in float32, then rounded to the base's own type; quantised ones become float32.
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
