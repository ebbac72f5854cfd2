"""Saving: what is written is read back as it was, in each float type, and a target is never half written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextword.checkpoints import save_directory
from nextword.checkpoints.gguf.writer import save_gguf
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checkpoints.save_directory import save_model_directory, save_opened
from nextword.errors import CheckpointError
from nextword.models.stored_tensor import FloatDtype, StoredTensor
from tests.checkpoints.test_gguf_writer import CONFIGS, TOKENIZER, random_directory
from tests.checkpoints.tiny_folder import tiny_weights, write_folder


@pytest.fixture
def model(tmp_path: Path) -> ModelDirectory:
    return open_model_directory(write_folder(tmp_path / "source"))


def save(model: ModelDirectory, path: Path, **options: Any) -> None:
    save_model_directory(path, config=model.config, tensors=model.tensors, tokenizer=None, **options)


@pytest.mark.parametrize(("dtype", "relative"), [("F32", 0.0), ("F16", 2.0**-11), ("BF16", 2.0**-8)])
def test_values_come_back_within_the_rounding_of_the_type(
    dtype: FloatDtype, relative: float, model: ModelDirectory, tmp_path: Path
) -> None:
    save(model, tmp_path / "saved", dtype=dtype)
    saved = open_model_directory(tmp_path / "saved")
    assert saved.config == model.config
    for name, tensor in model.tensors.items():
        assert saved.tensors[name].dtype == dtype
        np.testing.assert_allclose(saved.tensors[name].to_float32(), tensor.to_float32(), rtol=relative, atol=1e-7)


MATRICES, VECTORS = "matrices", "vectors"


def in_types(model: ModelDirectory, types: dict[str, FloatDtype], *, norms: float = 1.0) -> ModelDirectory:
    """The model with each tensor in the type of the first key that its name has, or its kind is; all norms the same."""
    tensors = {}
    for name, tensor in model.tensors.items():
        kind = VECTORS if len(tensor.shape) == 1 else MATRICES
        of_norms = np.full(tensor.shape, norms, np.float32)
        whole = StoredTensor(name, "F32", tensor.shape, of_norms if kind == VECTORS else tensor.to_float32())
        tensors[name] = whole.encoded_as(next(types[part] for part in types if part in name or part == kind))
    return dataclasses.replace(model, tensors=tensors)


@pytest.mark.parametrize(
    ("types", "norms", "expected"),
    [
        ({MATRICES: "F32", VECTORS: "F32"}, 1.0, "F32"),
        ({MATRICES: "F16", VECTORS: "F16"}, 1.0, "F16"),
        ({MATRICES: "BF16", VECTORS: "F32"}, 1.5, "BF16"),
        ({MATRICES: "BF16", VECTORS: "F32"}, 1 + 2.0**-9, "F32"),
        ({MATRICES: "F16", VECTORS: "F32"}, 1 + 2.0**-9, "F16"),
        ({MATRICES: "F16", VECTORS: "F32"}, 2.0**20, "F32"),
        ({"embedding": "F16", MATRICES: "F32", VECTORS: "F32"}, 1.0, "F32"),
        ({"embedding": "BF16", MATRICES: "F16", VECTORS: "BF16"}, 1.0, "F16"),
        ({"embedding": "BF16", MATRICES: "F16", VECTORS: "BF16"}, 2.0**20, "F32"),
        ({"embedding": "F32", MATRICES: "BF16", VECTORS: "F32"}, 1.0, "F32"),
    ],
)
def test_an_opened_model_is_saved_in_the_smallest_type_that_changes_no_value(
    types: dict[str, FloatDtype], norms: float, expected: str, model: ModelDirectory, tmp_path: Path
) -> None:
    mixed = in_types(model, types, norms=norms)
    mixed = dataclasses.replace(mixed, load_tokenizer=lambda: TOKENIZER)
    assert save_opened(tmp_path / "saved", mixed) == expected
    saved = open_model_directory(tmp_path / "saved")
    for name, tensor in mixed.tensors.items():
        np.testing.assert_array_equal(saved.tensors[name].to_float32(), tensor.to_float32())


def test_a_model_with_any_blocks_is_saved_in_float32(tmp_path: Path) -> None:
    config = CONFIGS["llama"]
    save_gguf(tmp_path / "x.gguf", random_directory(config, "BF16"), weights="q8")
    blocks = open_model_directory(tmp_path / "x.gguf")
    embedding = random_directory(config, "BF16").tensors["embedding.weight"]
    mixed = dataclasses.replace(blocks, tensors={**blocks.tensors, "embedding.weight": embedding})
    assert save_opened(tmp_path / "saved", mixed) == "F32"
    saved = open_model_directory(tmp_path / "saved")
    for name, tensor in mixed.tensors.items():
        np.testing.assert_array_equal(saved.tensors[name].to_float32(), tensor.to_float32())


def test_shards_hold_every_tensor_once_and_keep_to_the_limit(model: ModelDirectory, tmp_path: Path) -> None:
    save(model, tmp_path / "saved", max_shard_bytes=1_000)
    shards = sorted((tmp_path / "saved").glob("model-*.safetensors"))
    assert len(shards) > 3
    assert not (tmp_path / "saved" / "model.safetensors").exists()
    index = json.loads((tmp_path / "saved" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(tiny_weights())
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in tiny_weights().values())
    assert all(shard.stat().st_size < 1_000 + 1_000 for shard in shards)  # the values, and a header


def test_generation_defaults_are_kept_word_for_word(model: ModelDirectory, tmp_path: Path) -> None:
    defaults = {"temperature": 0.6, "eos_token_id": [2, 3], "transformers_version": "5"}
    save(model, tmp_path / "saved", generation_defaults=defaults)
    assert open_model_directory(tmp_path / "saved").generation_defaults == defaults


def test_an_existing_folder_is_not_touched(model: ModelDirectory, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    with pytest.raises(CheckpointError, match="exists; choose another folder"):
        save(model, tmp_path / "saved")
    assert list((tmp_path / "saved").iterdir()) == []


def test_only_a_model_directory_is_replaced(model: ModelDirectory, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="no model directory; it is not replaced"):
        save(model, tmp_path / "home", replace=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_a_model_directory_is_replaced_whole_when_asked_for(model: ModelDirectory, tmp_path: Path) -> None:
    save(model, tmp_path / "saved", generation_defaults={"top_k": 5})
    save(model, tmp_path / "saved", replace=True)
    assert open_model_directory(tmp_path / "saved").generation_defaults == {}
    assert {path.name for path in tmp_path.iterdir()} == {"source", "saved"}


def test_a_model_can_replace_the_folder_it_was_read_from(model: ModelDirectory) -> None:
    before = {name: tensor.to_float32().copy() for name, tensor in model.tensors.items()}
    save(model, model.path, replace=True)
    after = open_model_directory(model.path)
    for name, array in before.items():
        np.testing.assert_array_equal(after.tensors[name].to_float32(), array)


def test_a_failure_midway_leaves_nothing_behind(
    model: ModelDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save_directory, "write_safetensors", full_disk)
    with pytest.raises(CheckpointError, match="cannot be written: No space left"):
        save(model, tmp_path / "saved")
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_a_value_beyond_half_precision_is_refused_by_name(model: ModelDirectory, tmp_path: Path) -> None:
    large = StoredTensor("final_norm.weight", "F32", (8,), np.full(8, 1e6, dtype=np.float32))
    tensors = {**model.tensors, "final_norm.weight": large}
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight: has values beyond the range of F16"):
        save_model_directory(tmp_path / "saved", config=model.config, tensors=tensors, tokenizer=None, dtype="F16")
    assert not (tmp_path / "saved").exists()


def test_weights_that_do_not_fit_the_config_are_refused(model: ModelDirectory, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in model.tensors.items() if name != "final_norm.weight"}
    with pytest.raises(CheckpointError, match=r"missing tensor final_norm\.weight"):
        save_model_directory(tmp_path / "saved", config=model.config, tensors=tensors, tokenizer=None)
