"""Merging of an adapter into the weights of a model directory.

PyTorch is not needed, so every backend runs an adapted model like any other. Matrices are merged when they are read, in
float32, then rounded to the type of the base; quantised ones become float32.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nextword.adapters.adapted_weights import AdaptedWeights, adapted_weights
from nextword.adapters.folder import Adapter
from nextword.adapters.replaced_weights import encoded_like
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.models.config import ModelConfig
from nextword.models.families.published_weights import LazyTensors
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import Shape, weight_shapes
from nextword.text.tokenizer_folder import load_tokenizer_folder

_BIASES = {"q_proj": "qkv_bias", "k_proj": "qkv_bias", "v_proj": "qkv_bias", "o_proj": "attention_out_bias"}
_BIASES |= {"gate_proj": "mlp_bias", "up_proj": "mlp_bias", "down_proj": "mlp_bias", "output_head": "head_bias"}
"""Field of the config that says whether a linear layer has a bias."""


def with_adapter(directory: ModelDirectory, adapter: Adapter) -> ModelDirectory:
    """Merge an adapter into a model. Raises CheckpointError if they do not fit each other."""
    config, tensors = merged_weights(directory.config, directory.tensors, adapter)
    merged = dataclasses.replace(directory, config=config, tensors=tensors)
    if config.vocab_size != directory.config.vocab_size and _has_tokenizer(adapter.folder):
        assert adapter.folder is not None
        load = functools.partial(load_tokenizer_folder, adapter.folder)
        merged = dataclasses.replace(merged, load_tokenizer=load)  # it knows the tokens that were added
    return merged


def merged_weights(
    config: ModelConfig, tensors: Mapping[str, StoredTensor], adapter: Adapter
) -> tuple[ModelConfig, Mapping[str, StoredTensor]]:
    """Return config and weights with the adapter merged, by name; they are computed when read. Raises CheckpointError.

    The config differs where the adapter has a larger vocabulary, a head of its own, or biases.
    """
    adapted = adapted_weights(config, tensors, adapter)
    config = _config(adapted)
    makers: dict[str, Callable[[], StoredTensor]] = {}
    for name, shape in weight_shapes(config).items():
        module, _, kind = name.rpartition(".")
        if name in adapted.tensors and module not in adapted.changes:
            makers[name] = functools.partial(adapted.tensors.__getitem__, name)
        elif kind == "bias":
            makers[name] = functools.partial(_merged_bias, adapted, module, shape)
        else:
            makers[name] = functools.partial(_merged_weight, adapted, module)
    return config, LazyTensors(makers)


def _has_tokenizer(folder: Path | None) -> bool:
    return folder is not None and (folder / "tokenizer.json").exists()


def _config(adapted: AdaptedWeights) -> ModelConfig:
    """Return the config of the merged weights."""
    config = adapted.config
    if "output_head" in adapted.changes:
        config = dataclasses.replace(config, is_tied=False)
    added = {_BIASES[module.rpartition(".")[2]]: True for module in adapted.biased}
    return dataclasses.replace(config, **added)  # type: ignore[arg-type]


def _merged_weight(adapted: AdaptedWeights, module: str) -> StoredTensor:
    name = f"{module}.weight"
    base = adapted.tensors[name if name in adapted.tensors else "embedding.weight"]  # of a tied head
    return encoded_like(base, name, adapted.changes[module]().merged_into(base.to_float32()))


def _merged_bias(adapted: AdaptedWeights, module: str, shape: Shape) -> StoredTensor:
    """Return the bias of a layer; zeros where only other layers got one."""
    name = f"{module}.bias"
    values = adapted.changes[module]().bias if module in adapted.changes else None
    if values is None:
        values = np.zeros(shape, dtype=np.float32)
    stored = StoredTensor(name, "F32", shape, values)
    return encoded_like(adapted.tensors[name], name, values) if name in adapted.tensors else stored
