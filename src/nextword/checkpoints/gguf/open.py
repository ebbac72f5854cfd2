"""`open_gguf`: open a GGUF file as a `ModelDirectory`, with the weights under their names in nextword.

Names and shapes of the weights are checked against the config. Values are not read. `open_gguf_tokenizer` needs no
weights: files of a vocabulary alone have none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.checkpoints.gguf.attention_names import attention_rules
from nextword.checkpoints.gguf.config import read_gguf_config
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.rope import ROPE_FACTORS
from nextword.checkpoints.gguf.sampling import read_sampling
from nextword.checkpoints.gguf.splits import read_gguf_parts
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.errors import CheckpointError
from nextword.models.families.published_weights import LazyTensors, from_published
from nextword.models.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from nextword.text.tokenizer import Tokenizer

_NOT_WEIGHTS = (*ROPE_FACTORS, "*.attn_rot_embd.weight", "*.rope_freqs.weight")


def open_gguf(path: Path) -> ModelDirectory:
    """Open a GGUF file. Raises CheckpointError naming file and field if it is damaged or not supported."""
    file = read_gguf_parts(path)
    metadata = GGUFMetadata(file.metadata, path)
    _require_model(metadata, has_tensors=bool(file.tensors))
    family, mapping, config = read_gguf_config(metadata, file.tensors)
    rules = attention_rules(mapping.weights, file.tensors)
    named_as_here = dataclasses.replace(family, weights=rules, base_prefix="", ignored_weights=_NOT_WEIGHTS)
    tensors = from_published(named_as_here, config, file.tensors, source=str(path))
    return ModelDirectory(
        path=path,
        format="gguf",
        config=config,
        tensors=_without_offset(tensors, mapping.norm_offset) if mapping.norm_offset else tensors,
        load_tokenizer=lambda: _build_tokenizer(metadata, num_rows=config.vocab_size),
        generation_defaults=read_sampling(metadata),
        license=metadata.text("general.license") if metadata.has("general.license") else None,
        size_bytes=file.size_bytes,
    )


def open_gguf_tokenizer(path: Path) -> Tokenizer:
    """Open the tokenizer of a GGUF file, which may hold nothing else. Raises CheckpointError naming file and key."""
    metadata = GGUFMetadata(read_gguf_parts(path).metadata, path)
    _require_model(metadata, has_tensors=True)
    return _build_tokenizer(metadata)


def _build_tokenizer(metadata: GGUFMetadata, *, num_rows: int | None = None) -> Tokenizer:
    from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer  # with its library, beside packing

    return build_gguf_tokenizer(metadata, num_rows=num_rows)


def _require_model(metadata: GGUFMetadata, *, has_tensors: bool) -> None:
    """Raise CheckpointError, saying what it is, for a file that is no language model."""
    kind, architecture = metadata.text("general.type", "model"), metadata.text("general.architecture", "")
    if kind == "adapter":
        raise CheckpointError(
            f"{metadata.path}: a LoRA adapter, not a model; open its base model, with this file as the adapter"
        )
    if kind == "mmproj" or architecture == "clip":
        raise CheckpointError(
            f"{metadata.path}: the image or audio encoder of a model (mmproj), which is not supported; "
            "open the file of the language model beside it"
        )
    if kind not in ("model", "vocab"):
        metadata.refuse("general.type", "model: a language model")
    if not has_tensors:
        raise CheckpointError(
            f"{metadata.path}: a vocabulary without weights: it can tokenize, but not generate; fetch the whole model"
        )


def _without_offset(tensors: Mapping[str, StoredTensor], offset: float) -> Mapping[str, StoredTensor]:
    """Subtract from the weights of norms the offset that the converter added."""

    def without_offset(name: str) -> StoredTensor:
        tensor = tensors[name]
        return StoredTensor(name, "F32", tensor.shape, tensor.to_float32() - offset)

    makers: dict[str, Callable[[], StoredTensor]] = {
        name: functools.partial(without_offset if name.endswith("norm.weight") else tensors.__getitem__, name)
        for name in tensors
    }
    return LazyTensors(makers)
