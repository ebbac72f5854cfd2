"""`read_gguf_adapter`: a LoRA adapter in a GGUF file, as the settings and tensors that the peft library would save.

The file names layers as llama.cpp does, with the rows of their outputs in its order; the model that it adapts says what
they are called and where their rows belong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.reader import read_gguf
from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.family import WeightRule
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import Shape, require_shape, weight_shapes

_NAME = re.compile(r"(?P<module>.+)\.weight\.lora_(?P<part>[ab])")
_PREFIX = "base_model.model."
"""Prefix of every module in peft's files."""


def read_gguf_adapter(path: Path, config: ModelConfig) -> tuple[dict[str, object], dict[str, StoredTensor]]:
    """Return the content of adapter_config.json, and the tensors by peft's names, for the model of `config`.

    Raises CheckpointError naming file and key or tensor if it is no LoRA adapter or of another model.
    """
    file = read_gguf(path)
    _require_lora(GGUFMetadata(file.metadata, path), config)
    pairs = _pairs(file.tensors, path)
    layers = {layer.published: layer for layer in _layers(config)}
    tensors: dict[str, StoredTensor] = {}
    ranks: dict[str, int] = {}
    for module, (narrow, wide) in pairs.items():
        if module not in layers:
            raise CheckpointError(f"{path}: tensor {narrow.name} is of no layer of this {config.family} model")
        ranks |= _add(tensors, layers[module], narrow, wide, source=str(path))
    alpha = GGUFMetadata(file.metadata, path).number("adapter.lora.alpha", 0.0)
    return _settings(ranks, alpha), tensors


def _require_lora(metadata: GGUFMetadata, config: ModelConfig) -> None:
    for key, expected in (("general.type", "adapter"), ("adapter.type", "lora")):
        if metadata.text(key, "") != expected:
            metadata.refuse(key, f"{expected}: a LoRA adapter")
    if metadata.has("adapter.alora.invocation_tokens"):
        metadata.refuse("adapter.alora.invocation_tokens", "no such key; aLoRA is not implemented")
    mapping = FAMILIES[config.family].gguf
    if mapping is None or metadata.text("general.architecture") != mapping.architecture:
        own = config.family if mapping is None else mapping.architecture
        metadata.refuse("general.architecture", f"{own}, the architecture of the model")


def _pairs(tensors: Mapping[str, StoredTensor], path: Path) -> dict[str, tuple[StoredTensor, StoredTensor]]:
    """Return the two matrices, (rank, inputs) and (outputs, rank), by module."""
    found: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise CheckpointError(f"{path}: tensor {name} is no lora_a or lora_b of a layer; nothing else is supported")
        found.setdefault(match["module"], {})[match["part"]] = tensor
    for module, pair in found.items():
        if len(pair) < 2 or any(len(tensor.shape) != 2 for tensor in pair.values()):
            raise CheckpointError(f"{path}: {module} has not two matrices lora_a and lora_b; the file is damaged")
    return {module: (pair["a"], pair["b"]) for module, pair in found.items()}


@dataclass(frozen=True)
class _Layer:
    """A matrix of a GGUF file, and the published modules that hold its rows."""

    published: str
    """Name in the file."""
    shape: Shape
    modules: Mapping[str, npt.NDArray[np.intp]]
    """Rows in the matrix of the file, by published module."""
    is_embedding: bool


def _layers(config: ModelConfig) -> Iterator[_Layer]:
    family, shapes = FAMILIES[config.family], weight_shapes(config)
    assert family.gguf is not None, "checked before"
    for rule in family.gguf.weights:
        for layer in range(config.num_layers if "{i}" in rule.theirs else 1):
            ours = [_numbered(name, layer) for name in rule.ours]
            own_shapes = [shapes.get(f"{name}.weight", ()) for name in ours]
            if all(len(shape) == 2 for shape in own_shapes):
                yield _Layer(
                    published=_numbered(rule.theirs, layer),
                    shape=(sum(shape[0] for shape in own_shapes), own_shapes[0][1]),
                    modules=_modules(rule, family.weights, config, layer, [shape[0] for shape in own_shapes]),
                    is_embedding=rule.ours == ("embedding",),
                )


def _modules(
    rule: WeightRule, published: tuple[WeightRule, ...], config: ModelConfig, layer: int, sizes: list[int]
) -> dict[str, npt.NDArray[np.intp]]:
    """Return, for each published module inside a matrix of the file, its rows there, in its own order."""
    place = np.arange(sum(sizes), dtype=np.intp)
    rows = rule.rows(config) if rule.rows is not None else (slice(None),)
    parts = {name: place[part] for name, part in zip(rule.ours, rows, strict=True)}
    modules = {}
    for other in published:
        if set(other.ours) <= set(rule.ours):
            joined = np.concatenate([parts[name] for name in other.ours])
            if other.rows is not None:
                order = np.concatenate([np.arange(len(joined))[part] for part in other.rows(config)])
                joined = joined[np.argsort(order)]
            modules[_numbered(other.theirs, layer)] = joined
    return modules


def _numbered(name: str, layer: int) -> str:
    return name.replace("{i}", str(layer))


def _add(
    tensors: dict[str, StoredTensor], layer: _Layer, narrow: StoredTensor, wide: StoredTensor, *, source: str
) -> dict[str, int]:
    """Add the tensors of a layer by peft's names; return the rank of each of its published modules."""
    rank = wide.shape[1]
    num_outputs, num_inputs = layer.shape
    if layer.is_embedding:  # whose rows are looked up: its matrices change places, and the first is transposed
        require_shape(narrow.name, narrow.shape, (num_outputs, rank), source=source)
        require_shape(wide.name, wide.shape, (num_inputs, rank), source=source)
    else:
        require_shape(narrow.name, narrow.shape, (rank, num_inputs), source=source)
        require_shape(wide.name, wide.shape, (num_outputs, rank), source=source)
    if sum(map(len, layer.modules.values())) != num_outputs:
        raise CheckpointError(f"{source}: tensor {wide.name} is of a part of a layer, which is not supported")
    for module, rows in layer.modules.items():
        stem = f"{_PREFIX}{module}.lora_"
        if layer.is_embedding:
            tensors[f"{stem}embedding_A"] = narrow.transposed().renamed(f"{stem}embedding_A")
            tensors[f"{stem}embedding_B"] = wide.renamed(f"{stem}embedding_B")
        else:
            tensors[f"{stem}A.weight"] = narrow.renamed(f"{stem}A.weight")
            tensors[f"{stem}B.weight"] = wide.take_rows(rows).renamed(f"{stem}B.weight")
    return dict.fromkeys(layer.modules, rank)


def _settings(ranks: Mapping[str, int], alpha: float) -> dict[str, object]:
    """Return the settings: the update of a layer is scaled by alpha / rank, or not at all where alpha is 0."""
    usual = max(ranks.values(), default=1)
    others = {re.escape(module): rank for module, rank in ranks.items() if rank != usual}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": usual,
        "lora_alpha": alpha or usual,
        "rank_pattern": others,
        "alpha_pattern": {} if alpha else others,
        "target_modules": sorted(ranks),
    }
