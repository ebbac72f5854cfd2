"""`config_metadata` and `gguf_tensors`: what a GGUF file of a model says, the inverse of `config` and `open`.

A family's mapping drives both; nothing here knows a family. That a file says all of a config is found by reading the
metadata back (`require_same_config`), so a setting that the format lacks is refused, not lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from nextword.checkpoints.gguf.config import read_gguf_config
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.rope import rope_settings, rope_tensors
from nextword.checkpoints.same_config import first_difference
from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES, Family
from nextword.models.families.family import GGUFMapping
from nextword.models.families.published_weights import LazyTensors, to_published
from nextword.models.stored_tensor import StoredTensor

_HEAD = "output.weight"
_EMBEDDING = "token_embd.weight"
_PLACE = Path("the file to be written")


def gguf_family(config: ModelConfig) -> tuple[Family, GGUFMapping]:
    """Return the family, with the weight names of GGUF, and its mapping. Raises CheckpointError if it has none."""
    family = FAMILIES[config.family]
    if family.gguf is None:
        known = sorted(name for name, other in FAMILIES.items() if other.gguf is not None)
        raise CheckpointError(
            f"{config.family}: GGUF is not written for this family, only for {', '.join(known)}; export --to hf instead"
        )
    return dataclasses.replace(family, weights=family.gguf.weights), family.gguf


def gguf_tensors(config: ModelConfig, tensors: Mapping[str, StoredTensor]) -> Mapping[str, StoredTensor]:
    """Return all tensors of a file by name: the weights as the converter of llama.cpp has them, rotary divisors."""
    family, mapping = gguf_family(config)
    published = to_published(family, config, tensors)
    makers: dict[str, Callable[[], StoredTensor]] = {name: _getter(published, name) for name in published}
    if mapping.norm_offset:
        norms = {name for name in makers if name.endswith("norm.weight")}
        makers |= {name: _with_offset(published, name, mapping.norm_offset) for name in norms}
    if config.is_tied and mapping.needs_head:
        makers[_HEAD] = lambda: published[_EMBEDDING].renamed(_HEAD)
    if config.rope is not None:
        makers |= {name: _getter(rope_tensors(config.rope), name) for name in rope_tensors(config.rope)}
    return LazyTensors(makers)


def _getter(tensors: Mapping[str, StoredTensor], name: str) -> Callable[[], StoredTensor]:
    return lambda: tensors[name]


def _with_offset(tensors: Mapping[str, StoredTensor], name: str, offset: float) -> Callable[[], StoredTensor]:
    def make() -> StoredTensor:
        tensor = tensors[name]
        return StoredTensor(name, "F32", tensor.shape, tensor.to_float32() + offset)

    return make


def config_metadata(config: ModelConfig, tensors: Mapping[str, StoredTensor]) -> dict[str, object]:
    """Return the metadata of a config. `tensors`: those of the file, by name.

    Raises CheckpointError, naming the setting, if a GGUF file cannot say all of it.
    """
    settings = _settings(config)
    read_back = _read_back(settings, tensors)
    _, mapping = gguf_family(config)
    if read_back.sliding_layers != config.sliding_layers and "layer_types" in mapping.settings:
        flags = [config.is_sliding(layer) for layer in range(config.num_layers)]
        settings[f"{mapping.architecture}.{mapping.settings['layer_types']}"] = flags
        read_back = _read_back(settings, tensors)
    require_same_config(config, read_back)
    return settings


def require_same_config(config: ModelConfig, read_back: ModelConfig) -> None:
    """Raise CheckpointError, naming the setting, if two configs compute something else."""
    name = first_difference(_effective(config), _effective(read_back))
    if name is not None:
        raise CheckpointError(
            f"GGUF cannot express {name} = {getattr(config, name)!r} of a {config.family} model; export --to hf instead"
        )


def _settings(config: ModelConfig) -> dict[str, object]:
    family, mapping = gguf_family(config)
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
        **({} if config.rope is None else rope_settings(config.rope)),
    }
    fields = family.config_to_hf(config)
    own = {key: fields.get(field) for field, key in mapping.settings.items() if field != "layer_types"}
    settings |= {key: value for key, value in own.items() if value is not None}
    return {
        "general.architecture": mapping.architecture,
        "general.type": "model",
        **{f"{mapping.architecture}.{name}": value for name, value in settings.items()},
    }


def _read_back(metadata: Mapping[str, object], tensors: Mapping[str, StoredTensor]) -> ModelConfig:
    return read_gguf_config(GGUFMetadata(metadata, _PLACE), tensors)[2]


def _effective(config: ModelConfig) -> ModelConfig:
    """Return a config of the same computation, equal for configs that differ in what has no effect.

    That is the family, whose names do not compute, a window over the whole context, and a head equal to the embedding.
    """
    window = config.sliding_window
    if config.local_rope is None and (
        not config.sliding_layers or (window is not None and window >= config.max_seq_len)
    ):
        config = dataclasses.replace(config, sliding_window=None, sliding_layers=())
    return dataclasses.replace(config, family="", is_tied=config.is_tied or gguf_family(config)[1].needs_head)
