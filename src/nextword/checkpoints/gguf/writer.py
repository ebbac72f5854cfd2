"""`save_gguf`: write an opened model as a GGUF file for llama.cpp, with tokenizer and chat template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from nextword.atomic_file import write_atomically
from nextword.checkpoints.gguf.config_metadata import config_metadata, gguf_tensors, require_same_config
from nextword.checkpoints.gguf.open import open_gguf
from nextword.checkpoints.gguf.sampling import sampling_metadata
from nextword.checkpoints.gguf.tokenizer_metadata import model_name, tokenizer_metadata
from nextword.checkpoints.gguf.types import BLOCK_TYPES
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.errors import CheckpointError, os_reason
from nextword.models.low_bits import LOW_BITS
from nextword.models.stored_tensor import FLOAT_DTYPES, FloatDtype, StoredTensor

GGUFWeights = Literal["auto", "f32", "f16", "bf16", "q8", "q4"]
"""Encoding of matrices; "auto": the one that the model has."""

_TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8": "Q8_0", "q4": "Q4_1"}
_ENDS = ("token_embd.weight", "output.weight")
"""Embedding and output head: at 4 bits they would cost more accuracy than all layers together."""

_FLOATS = ("position_embd.weight", "ffn_gate_inp.weight")
"""Positions, and the router of a mixture of experts, whose rounded logits could choose other experts."""


def save_gguf(path: Path, directory: ModelDirectory, *, weights: GGUFWeights = "auto") -> None:
    """Write a model as one file, and read it back. Raises CheckpointError, naming what differs, if GGUF cannot say it.

    Vectors are stored as F32; matrices too narrow for blocks as F16 where blocks are asked for.
    """
    config, tokenizer = directory.config, directory.tokenizer
    tensors = gguf_tensors(config, directory.tensors)
    metadata = {**config_metadata(config, tensors), "general.name": model_name(tokenizer, path.stem)}
    if directory.license is not None:
        metadata["general.license"] = directory.license
    metadata |= sampling_metadata(directory.generation_defaults, path)
    metadata |= tokenizer_metadata(tokenizer, metadata, num_rows=config.vocab_size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as out:
            _write(Path(out.name), metadata, tensors, weights)
            require_same_config(config, open_gguf(Path(out.name)).config)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {os_reason(error)}") from None


class _Encoding(NamedTuple):
    """Encoding of one tensor: type, shape in the file, size in bytes."""

    kind: str
    shape: tuple[int, ...]
    num_bytes: int


def _encoding(tensor: StoredTensor, weights: GGUFWeights) -> _Encoding:
    kind = tensor.dtype if weights == "auto" else _TYPES[weights]
    if len(tensor.shape) == 1 or tensor.name.endswith(_FLOATS):
        kind = "F32"
    elif kind == "Q4_1" and weights == "q4" and tensor.name in _ENDS:
        kind = "Q8_0"
    _, num_values, num_bytes = next(block for block in BLOCK_TYPES.values() if block.name == kind)
    if tensor.shape[-1] % num_values or kind in LOW_BITS:  # which the gguf package cannot write; fp16 has their values
        kind, num_values, num_bytes = "F16", 1, 2
    row_bytes = tensor.shape[-1] // num_values * num_bytes
    shape = tensor.shape if kind in ("F32", "F16") else (*tensor.shape[:-1], row_bytes)
    return _Encoding(kind, shape, math.prod(tensor.shape[:-1]) * row_bytes)


def _write(
    path: Path,
    metadata: Mapping[str, object],
    tensors: Mapping[str, StoredTensor],
    weights: GGUFWeights,
) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        if key != "general.architecture":  # which the writer has added
            _add(writer, key, value)
    for name in tensors:
        kind, shape, num_bytes = _encoding(tensors[name], weights)
        dtype = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}.get(kind, np.dtype(np.uint8))
        writer.add_tensor_info(name, shape, dtype, num_bytes, GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in tensors:
        tensor = tensors[name]
        writer.write_tensor_data(_encoded(tensor, _encoding(tensor, weights).kind))
        tensor.require_unchanged()
    writer.close()


def _add(writer: object, key: str, value: object) -> None:
    kinds = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}
    kind = "int32" if type(value) is int and value < 0 else kinds[type(value)]
    getattr(writer, f"add_{kind}")(key, value)


def _encoded(tensor: StoredTensor, kind: str) -> npt.NDArray[np.generic]:
    """Return the values as bytes or numbers in the encoding of the file."""
    if kind == tensor.dtype:
        return np.ascontiguousarray(tensor.data)
    if kind in FLOAT_DTYPES:
        return np.ascontiguousarray(tensor.encoded_as(cast("FloatDtype", kind)).data)
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    encoded: npt.NDArray[np.generic] = quantize(np.ascontiguousarray(tensor.to_float32()), GGMLQuantizationType[kind])
    return encoded
