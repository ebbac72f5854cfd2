"""`save_gguf`: write an opened model as a GGUF file for llama.cpp, with tokenizer and chat template.

Before writing, the metadata is read back from memory: a setting that GGUF cannot express is refused, not lost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from nextword.atomic_file import write_atomically
from nextword.checkpoints.gguf.config import read_gguf_config
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.tokenizer_metadata import vocabulary_metadata
from nextword.checkpoints.gguf.types import BLOCK_TYPES
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.errors import CheckpointError, os_reason
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES, Family
from nextword.models.families.published_weights import LazyTensors, to_published
from nextword.models.rope import LinearScaling, Llama3Scaling, Rope
from nextword.models.stored_tensor import FLOAT_DTYPES, FloatDtype, StoredTensor

GGUFWeights = Literal["auto", "f32", "f16", "bf16", "q8", "q4"]
"""Encoding of matrices; "auto": the one that the model has."""

_TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8": "Q8_0", "q4": "Q4_1"}
_ENDS = ("token_embd.weight", "output.weight")
"""Embedding and output head: at 4 bits they would cost more accuracy than all layers together."""
_FAMILIES = ("llama", "gpt2", "qwen2", "qwen3")
"""Families whose files tests compare with llama.cpp or transformers."""
_FREQUENCIES = "rope_freqs.weight"


def save_gguf(path: Path, directory: ModelDirectory, *, weights: GGUFWeights = "auto") -> None:
    """Write a model as one file. Raises CheckpointError, naming the reason, if GGUF or this writer cannot express it.

    Vectors are stored as F32; matrices too narrow for blocks as F16 where blocks are asked for.
    """
    config = directory.config
    tensors = _named_tensors(directory)
    metadata = {**_settings(config), **vocabulary_metadata(directory.tokenizer, num_rows=config.vocab_size)}
    metadata["general.name"] = path.stem
    if directory.license is not None:
        metadata["general.license"] = directory.license
    _require_same(config, metadata, tensors)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as out:
            _write(Path(out.name), config, metadata, tensors, weights)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {os_reason(error)}") from None


def _family(config: ModelConfig) -> tuple[Family, str]:
    """Return the family, with the weight names of GGUF, and the GGUF architecture."""
    family = FAMILIES[config.family]
    if config.family not in _FAMILIES or family.gguf is None:
        raise CheckpointError(
            f"{config.family}: writing GGUF is not implemented for this family, only for {', '.join(_FAMILIES)}; "
            "export --to hf, and convert with llama.cpp"
        )
    return dataclasses.replace(family, weights=family.gguf.weights), family.gguf.architecture


def _named_tensors(directory: ModelDirectory) -> Mapping[str, StoredTensor]:
    config = directory.config
    family, _ = _family(config)
    published = to_published(family, config, directory.tensors)
    makers: dict[str, Callable[[], StoredTensor]] = {name: _getter(published, name) for name in published}
    if config.rope is not None and isinstance(config.rope.scaling, Llama3Scaling):
        divisors = _divisors(config.rope)
        makers[_FREQUENCIES] = lambda: StoredTensor(_FREQUENCIES, "F32", divisors.shape, divisors)
    return LazyTensors(makers)


def _getter(tensors: Mapping[str, StoredTensor], name: str) -> Callable[[], StoredTensor]:
    return lambda: tensors[name]


def _divisors(rope: Rope) -> npt.NDArray[np.float32]:
    """Return the divisors of the rotary frequencies, (rotary_dim / 2,), as llama.cpp applies them."""
    plain = dataclasses.replace(rope, scaling=None)
    return (plain.inverse_frequencies() / rope.inverse_frequencies()).astype(np.float32)


def _settings(config: ModelConfig) -> dict[str, object]:
    """Return the metadata of the transformer's config."""
    architecture = _family(config)[1]
    epsilon = "attention.layer_norm_rms_epsilon" if config.norm == "rms" else "attention.layer_norm_epsilon"
    settings: dict[str, object] = {
        "block_count": config.num_layers,
        "context_length": config.max_seq_len,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        epsilon: config.norm_eps,
        "vocab_size": config.vocab_size,
    }
    if config.rope is not None:
        settings |= {"rope.freq_base": config.rope.theta, "rope.dimension_count": config.rope.rotary_dim}
        if isinstance(config.rope.scaling, LinearScaling):
            settings |= {"rope.scaling.type": "linear", "rope.scaling.factor": config.rope.scaling.factor}
    return {
        "general.architecture": architecture,
        "general.type": "model",
        **{f"{architecture}.{name}": value for name, value in settings.items()},
    }


def _require_same(config: ModelConfig, metadata: Mapping[str, object], tensors: Mapping[str, StoredTensor]) -> None:
    """Raise CheckpointError if reading the metadata would give another config."""
    _, _, read_back = read_gguf_config(GGUFMetadata(metadata, Path("the file to be written")), tensors)
    for field in dataclasses.fields(ModelConfig):
        own, other = getattr(config, field.name), getattr(read_back, field.name)
        if not _is_same(own, other):
            raise CheckpointError(
                f"GGUF cannot express {field.name} = {own!r} of a {config.family} model; export --to hf instead"
            )


def _is_same(own: object, other: object) -> bool:
    if isinstance(own, Rope) and isinstance(other, Rope):
        is_same_kind = type(own.scaling) is type(other.scaling)
        return is_same_kind and np.allclose(own.inverse_frequencies(), other.inverse_frequencies(), rtol=1e-5, atol=0)
    if isinstance(own, float) and isinstance(other, float):
        return math.isclose(own, other, rel_tol=1e-6)
    return own == other


class _Encoding(NamedTuple):
    """Encoding of one tensor: type, shape in the file, size in bytes."""

    kind: str
    shape: tuple[int, ...]
    num_bytes: int


def _encoding(config: ModelConfig, tensor: StoredTensor, weights: GGUFWeights) -> _Encoding:
    kind = tensor.dtype if weights == "auto" else _TYPES[weights]
    if len(tensor.shape) == 1 or tensor.name == "position_embd.weight":
        kind = "F32"
    elif kind == "Q4_1" and weights == "q4" and tensor.name in _ENDS:
        kind = "Q8_0"
    _, num_values, num_bytes = next(block for block in BLOCK_TYPES.values() if block.name == kind)
    if tensor.shape[-1] % num_values:
        kind, num_values, num_bytes = "F16", 1, 2
    row_bytes = tensor.shape[-1] // num_values * num_bytes
    shape = tensor.shape if kind in ("F32", "F16") else (*tensor.shape[:-1], row_bytes)
    return _Encoding(kind, shape, math.prod(tensor.shape[:-1]) * row_bytes)


def _write(
    path: Path,
    config: ModelConfig,
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
        kind, shape, num_bytes = _encoding(config, tensors[name], weights)
        dtype = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}.get(kind, np.dtype(np.uint8))
        writer.add_tensor_info(name, shape, dtype, num_bytes, GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in tensors:
        writer.write_tensor_data(_encoded(tensors[name], _encoding(config, tensors[name], weights).kind))
    writer.close()


def _add(writer: object, key: str, value: object) -> None:
    kinds = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}
    getattr(writer, f"add_{kinds[type(value)]}")(key, value)


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
