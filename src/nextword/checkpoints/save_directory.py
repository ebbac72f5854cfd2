"""`save_model_directory`: write config, weights and tokenizer as a Hugging Face folder, which other libraries open too.

The folder is written beside the target, flushed to the disk, then renamed: the target is complete or unchanged.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nextword.atomic_file import partial_folder
from nextword.checkpoints.huggingface import CONFIG_NAME, GENERATION_CONFIG_NAME, read_config
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.safetensors_file import INDEX_NAME, SINGLE_NAME, write_safetensors
from nextword.checkpoints.same_config import first_difference
from nextword.errors import CheckpointError, os_reason
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.published_weights import published_shapes, to_published
from nextword.models.stored_tensor import FLOAT_DTYPES, FloatDtype, StoredTensor
from nextword.models.weights import require_names, require_shape, weight_shapes
from nextword.text.same_tokenizer import find_difference
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder

_TORCH_NAMES: dict[FloatDtype, str] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_SHARD_BYTES = 5_000_000_000
"""Largest shard, as in the tools of the Hub, so that downloads can be resumed."""


def save_model_directory(
    path: Path,
    *,
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    tokenizer: Tokenizer | None,
    generation_defaults: Mapping[str, object] | None = None,
    dtype: FloatDtype = "F32",
    max_shard_bytes: int = _SHARD_BYTES,
    replace: bool = False,
) -> None:
    """Write config.json, safetensors, generation_config.json and the tokenizer as a new folder at `path`.

    `tensors` are named as in `weights.weight_shapes` and may be quantised; all are stored as `dtype`. `tokenizer` None:
    none is written. `replace`: replace an existing model directory. Raises CheckpointError if the target exists
    and `replace` is False or it is no model directory, if names or shapes do not fit the config, if a value is beyond
    the range of F16, or if writing fails.
    """
    _require_free(path, replace=replace)
    shapes = weight_shapes(config)
    require_names(tensors, shapes, source="weights")
    for name, shape in shapes.items():
        require_shape(name, tensors[name].shape, shape, source="weights")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(path) as folder:
            settings = _config_json(config, tokenizer, generation_defaults or {}, dtype)
            _write_json(folder / CONFIG_NAME, settings)
            _require_same_config(config, folder / CONFIG_NAME)
            if generation_defaults:
                _write_json(folder / GENERATION_CONFIG_NAME, _with_end_tokens(generation_defaults, tokenizer))
            if tokenizer is not None:
                tokenizer.write_files(folder)
                _require_same_tokenizer(tokenizer, folder)
            _write_weights(folder, config, tensors, dtype, max_shard_bytes)
            _sync_folder(folder)
            _move_into_place(folder, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {os_reason(error)}") from None


def save_opened(path: Path, directory: ModelDirectory, *, dtype: FloatDtype | None = None) -> FloatDtype:
    """Write an opened model as a new folder; return the type that its weights were stored as.

    `dtype` None: 16 bits that matrices have, if they hold all of the model's values exactly, else F32. Raises as
    `save_model_directory`.
    """
    _require_free(path, replace=False)  # before weights are read
    stored = dtype or _exact_dtype(directory)
    save_model_directory(
        path,
        config=directory.config,
        tensors=directory.tensors,
        tokenizer=directory.tokenizer,
        generation_defaults=directory.generation_defaults,
        dtype=stored,
    )
    return stored


def _exact_dtype(directory: ModelDirectory) -> FloatDtype:
    """Return the type that holds all values exactly: 16 bits that matrices have, if all others fit into them, or F32.

    Beside matrices of 16 bits a GGUF file has vectors of 32, often with the values that they had in 16.
    """
    shapes = weight_shapes(directory.config)
    halves: dict[FloatDtype, bool] = {"BF16": False, "F16": False}
    """Those that have held all values so far, and whether a matrix has them."""
    for name in sorted(shapes, key=lambda name: len(shapes[name])):  # vectors are read at once, and mostly decide
        tensor = directory.tensors[name]  # which may be computed anew each time
        is_matrix = len(shapes[name]) > 1
        halves = {
            dtype: has_matrix or (is_matrix and tensor.dtype == dtype)
            for dtype, has_matrix in halves.items()
            if not tensor.is_quantized and tensor.is_exact_as(dtype)
        }
        if not halves:
            break
    return next((dtype for dtype, has_matrix in halves.items() if has_matrix), "F32")


def require_savable(tokenizer: Tokenizer) -> None:
    """Raise CheckpointError, naming what differs, if a folder would hold another tokenizer: to know before training."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = {"eos_token_id": list(tokenizer.eos_token_ids), "vocab_size": tokenizer.vocab_size}
        _write_json(folder / CONFIG_NAME, content)
        tokenizer.save(folder)
        _require_same_tokenizer(tokenizer, folder)


def _require_same_tokenizer(tokenizer: Tokenizer, written: Path) -> None:
    """Raise CheckpointError, naming what differs, if the tokenizer of a folder, read back, is another one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of reading: what matters is compared
        found = find_difference(tokenizer, load_tokenizer_folder(written))
    if found is not None:
        raise CheckpointError(
            f"a Hugging Face folder cannot express the tokenizer's {found.name}: {found.own!r:.80} would be read as "
            f"{found.other!r:.80}; keep the GGUF file, or take the tokenizer of the model's original folder"
        )


def _require_same_config(config: ModelConfig, written: Path) -> None:
    """Raise CheckpointError if config.json, read back, computes something else: the family has no field for it."""
    name = first_difference(config, read_config(written)[1])
    if name is not None:
        raise CheckpointError(
            f"config.json of a {config.family} model cannot express {name} = {getattr(config, name)!r}"
        )


def _require_free(path: Path, *, replace: bool) -> None:
    if not path.exists():
        return
    if not replace:
        raise CheckpointError(f"{path}: exists; choose another folder or ask for it to be replaced")
    has_weights = (path / SINGLE_NAME).exists() or (path / INDEX_NAME).exists()
    if not (has_weights and (path / CONFIG_NAME).exists()):
        raise CheckpointError(f"{path}: exists and is no model directory; it is not replaced")


def _config_json(
    config: ModelConfig, tokenizer: Tokenizer | None, generation_defaults: Mapping[str, object], dtype: FloatDtype
) -> dict[str, object]:
    """Build the content of config.json. Token ids are written even where null: readers have own defaults."""
    family = FAMILIES[config.family]
    end: object = generation_defaults.get("eos_token_id")
    start: object = generation_defaults.get("bos_token_id")
    if tokenizer is not None:
        start = tokenizer.bos_token_id
        end = _one_or_list(tokenizer.eos_token_ids)
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **family.config_to_hf(config),
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": generation_defaults.get("pad_token_id"),
        "torch_dtype": _TORCH_NAMES[dtype],
    }


def _with_end_tokens(generation_defaults: Mapping[str, object], tokenizer: Tokenizer | None) -> dict[str, object]:
    """Return generation_config.json with the tokenizer's end tokens, which readers take from there first."""
    if tokenizer is None or not tokenizer.eos_token_ids:
        return dict(generation_defaults)
    return {**generation_defaults, "eos_token_id": _one_or_list(tokenizer.eos_token_ids)}


def _one_or_list(token_ids: Sequence[int]) -> object:
    return token_ids[0] if len(token_ids) == 1 else list(token_ids) or None


def _write_weights(
    folder: Path, config: ModelConfig, tensors: Mapping[str, StoredTensor], dtype: FloatDtype, max_shard_bytes: int
) -> None:
    family = FAMILIES[config.family]
    published = to_published(family, config, tensors)
    item_bytes = FLOAT_DTYPES[dtype].itemsize
    shapes = published_shapes(family, config)
    sizes = {name: math.prod(shape) * item_bytes for name, shape in shapes.items()}
    shards = _shards(sizes, max_shard_bytes)
    if len(shards) == 1:
        write_safetensors(folder / SINGLE_NAME, published, shapes=shapes, dtype=dtype)
        return
    weight_map = {}
    for number, names in enumerate(shards, 1):
        shard = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / shard, published, shapes={name: shapes[name] for name in names}, dtype=dtype)
        weight_map.update(dict.fromkeys(names, shard))
    _write_json(folder / INDEX_NAME, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})


def _shards(sizes: Mapping[str, int], max_shard_bytes: int) -> list[list[str]]:
    """Split the names, in order, into shards of at most `max_shard_bytes` (or one tensor)."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(dict(content), indent=2, allow_nan=False) + "\n")


def _sync_folder(folder: Path) -> None:
    """Flush all files of the folder, then the folder itself, to the disk."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _move_into_place(folder: Path, path: Path) -> None:
    """Rename the finished folder to `path`; a folder that it replaces is moved aside first and deleted after."""
    if not path.exists():
        folder.rename(path)
        return
    old = folder.with_suffix(".replaced")
    path.rename(old)
    try:
        folder.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)
