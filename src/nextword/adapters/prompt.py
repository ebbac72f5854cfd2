"""Prompt tuning: trained vectors that precede every sequence in place of token embeddings (arXiv:2104.08691).

On disk a prompt is an adapter in the format of the peft library. A model with a prompt is represented as one with more
tokens: the vectors are the last rows of its embedding, and the output head never chooses them. So every backend can
compute it; `inference.prompted_backend` puts the virtual tokens before each sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextword.adapters.adapter_files import CONFIG_NAME, WEIGHTS_NAME, base_name, open_weights, write_adapter
from nextword.adapters.spec import PROMPT_KINDS
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.errors import CheckpointError
from nextword.json_file import read_json_object
from nextword.models.config import ModelConfig
from nextword.models.families.fields import ConfigFields
from nextword.models.families.published_weights import LazyTensors
from nextword.models.stored_tensor import StoredTensor, join_rows
from nextword.models.weights import require_names, require_shape

Array = npt.NDArray[np.float32]

PEFT_TYPE = "PROMPT_TUNING"
_TENSOR = "prompt_embeddings"
_NEVER = -1e30
"""Logit of a virtual token: its probability is 0, but sums stay finite."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Trained prompt read from disk."""

    values: StoredTensor
    """Vectors, (virtual tokens, hidden size)."""
    base: str | None
    """Name of the base model when the prompt was trained."""
    source: str
    """Name of the prompt in messages."""


def open_prompt(folder: Path) -> Prompt:
    """Read a prompt that nextword or peft saved. Raises CheckpointError naming file, field and what is supported."""
    path = folder / CONFIG_NAME
    fields = ConfigFields(read_json_object(path), str(path))
    fields.choice("peft_type", dict.fromkeys(PROMPT_KINDS))
    fields.require("modules_to_save", [])
    fields.require("num_transformer_submodules", 1, None)
    stored = open_weights(folder)
    source = str(folder / WEIGHTS_NAME)
    require_names(stored, {_TENSOR: None}, source=source)
    shape = (fields.integer("num_virtual_tokens"), fields.integer("token_dim"))
    require_shape(_TENSOR, stored[_TENSOR].shape, shape, source=source)
    return Prompt(values=stored[_TENSOR], base=base_name(fields), source=source)


def save_prompt(folder: Path, values: Array, *, config: ModelConfig, base: str | None) -> None:
    """Write a prompt, (virtual tokens, hidden size), as peft reads it. Raises CheckpointError if writing fails."""
    settings: dict[str, object] = {
        "peft_type": PEFT_TYPE,
        "num_virtual_tokens": len(values),
        "token_dim": config.hidden_size,
        "num_transformer_submodules": 1,
        "num_attention_heads": config.num_heads,
        "num_layers": config.num_layers,
        "prompt_tuning_init": "RANDOM",
    }
    write_adapter(folder, settings, {_TENSOR: values}, base=base)


def with_prompt(directory: ModelDirectory, prompt: Prompt) -> ModelDirectory:
    """Add the prompt to a model as further tokens. Raises CheckpointError if the hidden sizes differ."""
    config = directory.config
    if prompt.values.shape[1] != config.hidden_size:
        raise CheckpointError(
            f"{prompt.source}: vectors of {prompt.values.shape[1]} numbers, the model's have {config.hidden_size}; "
            "the prompt was trained for another model"
        )
    num_virtual = prompt.values.shape[0]
    extended = dataclasses.replace(config, vocab_size=config.vocab_size + num_virtual, is_tied=False, head_bias=True)
    return dataclasses.replace(
        directory,
        config=extended,
        tensors=_extended(directory.tensors, prompt, config),
        num_virtual_tokens=num_virtual,
    )


def _extended(tensors: Mapping[str, StoredTensor], prompt: Prompt, config: ModelConfig) -> Mapping[str, StoredTensor]:
    head = "embedding.weight" if config.is_tied else "output_head.weight"
    makers: dict[str, Callable[[], StoredTensor]] = {name: _getter(tensors, name) for name in tensors}
    makers["embedding.weight"] = lambda: join_rows(
        "embedding.weight", [tensors["embedding.weight"].encoded_as("F32"), _rows(prompt, config)]
    )
    makers["output_head.weight"] = lambda: _with_zero_rows(tensors[head], prompt.values.shape[0])
    makers["output_head.bias"] = lambda: _bias(tensors, config.vocab_size, prompt.values.shape[0])
    return LazyTensors(makers)


def _rows(prompt: Prompt, config: ModelConfig) -> StoredTensor:
    """Return the vectors as rows of an embedding that is scaled after look-up; peft does not scale the prompt."""
    values = prompt.values.to_float32() / np.float32(config.embedding_scale)
    return StoredTensor("embedding.weight", "F32", values.shape, values)


def _getter(tensors: Mapping[str, StoredTensor], name: str) -> Callable[[], StoredTensor]:
    return lambda: tensors[name]


def _with_zero_rows(tensor: StoredTensor, num_rows: int) -> StoredTensor:
    """Append rows of zeros to a matrix: bytes of 0 are values of 0 in every encoding."""
    zeros = np.zeros((num_rows, *tensor.data.shape[1:]), dtype=tensor.data.dtype)
    below = StoredTensor(tensor.name, tensor.dtype, (num_rows, *tensor.shape[1:]), zeros)
    return join_rows("output_head.weight", [tensor, below])


def _bias(tensors: Mapping[str, StoredTensor], vocab_size: int, num_virtual: int) -> StoredTensor:
    name = "output_head.bias"
    own = tensors[name].to_float32() if name in tensors else np.zeros(vocab_size, dtype=np.float32)
    values = np.concatenate([own, np.full(num_virtual, _NEVER, dtype=np.float32)])
    return StoredTensor(name, "F32", values.shape, values)
