"""`save_gguf`: write an opened model as a GGUF file for llama.cpp, with tokenizer and chat template."""

from __future__ import annotations

import contextlib
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
_BLOCKS = ("q8", "q4")
_BYTES_OF_HALVES = {"Q8_0": 2, "Q4_1": 4}
"""Bytes at the beginning of a block that are fp16: its scale, and the least value."""
_ENDS = ("token_embd.weight", "output.weight")
"""Embedding and output head: at 4 bits they would cost more accuracy than all layers together."""

_FLOATS = ("position_embd.weight", "ffn_gate_inp.weight")
"""Positions, and the router of a mixture of experts, whose rounded logits could choose other experts."""


def save_gguf(path: Path, directory: ModelDirectory, *, weights: GGUFWeights = "auto") -> str:
    """Write a model as one file, and read it back. Raises CheckpointError, naming what differs, if GGUF cannot say it.

    Vectors are stored as F32; matrices too narrow for blocks as F16 where blocks are asked for. Numbers that a type
    cannot hold are an error that names the tensor. Returns `weights`, or what the matrices have where some or all of
    them are too narrow: "q8, f16", or "f16".
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
            kinds = _write(Path(out.name), metadata, tensors, weights)
            require_same_config(config, open_gguf(Path(out.name)).config)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {os_reason(error)}") from None
    if weights not in _BLOCKS or "F16" not in kinds:
        return weights
    return "f16" if kinds == {"F16"} else f"{weights}, f16"


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
) -> set[str]:
    """Write the file; return the types of its matrices, those apart that are floats in every file."""
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        if key != "general.architecture":  # which the writer has added
            _add(writer, key, value)
    kinds = set()
    for name in tensors:
        kind, shape, num_bytes = _encoding(tensors[name], weights)
        dtype = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}.get(kind, np.dtype(np.uint8))
        writer.add_tensor_info(name, shape, dtype, num_bytes, GGMLQuantizationType[kind])
        if len(shape) > 1 and not name.endswith(_FLOATS):
            kinds.add(kind)
    with contextlib.closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name in tensors:
            tensor = tensors[name]
            writer.write_tensor_data(_encoded(tensor, _encoding(tensor, weights).kind))
            tensor.require_unchanged()
    return kinds


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
    return _in_blocks(tensor, kind)


def _in_blocks(tensor: StoredTensor, kind: str) -> npt.NDArray[np.uint8]:
    """Round the values to blocks. Raises CheckpointError if a block's fp16 numbers cannot hold what its values need."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    with np.errstate(all="ignore"):  # what that would warn of is looked for below
        blocks: npt.NDArray[np.uint8] = quantize(np.ascontiguousarray(tensor.to_float32()), GGMLQuantizationType[kind])
    num_bytes = next(block.num_bytes for block in BLOCK_TYPES.values() if block.name == kind)
    halves = blocks.reshape(-1, num_bytes)[:, : _BYTES_OF_HALVES[kind]]
    if not np.isfinite(np.ascontiguousarray(halves).view("<f2")).all():
        raise CheckpointError(
            f"tensor {tensor.name}: has numbers that are infinite, NaN or too large for blocks of {kind}; "
            "export with weights f32"
        )
    return blocks
