"""Weights as training programs leave them, which transformers loads too, or should."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from nextword.checkpoints.gguf.reader import read_gguf
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checkpoints.safetensors_file import SINGLE_NAME, open_safetensors
from nextword.errors import CheckpointError
from nextword.json_file import parse_json_object, read_json_object
from nextword.text.sentencepiece_model import read_sentencepiece_model
from nextword.text.tokenizer_json import read_tokenizer_json
from tests.checkpoints.tiny_folder import tiny_weights, write_folder

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def embedding_of(folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return open_model_directory(folder).tensors["embedding.weight"].to_float32()


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    weights = {prefix + name: values for name, values in tiny_weights().items()}
    write_folder(tmp_path, weights=weights)
    assert np.array_equal(embedding_of(tmp_path), tiny_weights()[EMBEDDING])


def test_a_weight_with_and_without_a_prefix_is_refused(tmp_path: Path) -> None:
    weights = tiny_weights()
    write_folder(tmp_path, weights={**weights, "_orig_mod." + EMBEDDING: weights[EMBEDDING]})
    with pytest.raises(CheckpointError, match="holds a weight twice"):
        open_model_directory(tmp_path)


def test_heads_of_other_tasks_are_left_out_with_a_warning(tmp_path: Path) -> None:
    heads = {"v_head.summary.weight": np.zeros((1, 8), np.float32), "score.weight": np.zeros((2, 8), np.float32)}
    write_folder(tmp_path, weights={**tiny_weights(), **heads})
    with pytest.warns(UserWarning, match=r"(v_head.summary|score).weight: a head of another"):
        directory = open_model_directory(tmp_path)
    assert "v_head.summary.weight" not in directory.tensors


@pytest.mark.parametrize("prefix", ["model.", ""])
def test_layers_beyond_the_config_are_left_out_with_a_warning(tmp_path: Path, prefix: str) -> None:
    weights = tiny_weights()
    count = 1 + max(int(name.split(".")[2]) for name in weights if ".layers." in name)
    further = {
        name.replace(".layers.0.", f".layers.{count}."): values + 1 for name, values in weights.items() if ".0." in name
    }
    further[f"model.layers.{count}.eh_proj.weight"] = np.zeros((8, 16), np.float32)
    both = {name.replace("model.", prefix): values for name, values in {**weights, **further}.items()}
    write_folder(tmp_path, weights=both)
    message = f"layers.{count}.*and {len(further) - 1} more: of layers beyond the {count} of config.json"
    with pytest.warns(UserWarning, match=message):
        directory = open_model_directory(tmp_path)
    assert directory.config.num_layers == count
    assert not any(f"layers.{count}." in name for name in directory.tensors)


def test_old_names_of_norms_are_refused_as_the_peer_has_no_place_for_them(tmp_path: Path) -> None:
    """transformers initialises such norms at random: it renames `LayerNorm.gamma` of BERT alone."""
    write_folder(tmp_path, weights={name.replace("norm.weight", "norm.gamma"): v for name, v in tiny_weights().items()})
    with pytest.raises(CheckpointError, match=r"missing tensor .*norm.weight"):
        open_model_directory(tmp_path)


def test_a_tied_model_may_be_saved_under_the_name_of_its_head(tmp_path: Path) -> None:
    weights = {HEAD if name == EMBEDDING else name: values for name, values in tiny_weights().items() if name != HEAD}
    write_folder(tmp_path, config={"tie_word_embeddings": True}, weights=weights)
    directory = open_model_directory(tmp_path)
    assert directory.config.is_tied
    assert np.array_equal(directory.tensors["embedding.weight"].to_float32(), weights[HEAD])


def test_a_head_that_is_missing_is_said(tmp_path: Path) -> None:
    weights = {name: values for name, values in tiny_weights().items() if name != HEAD}
    write_folder(tmp_path, config={"tie_word_embeddings": False}, weights=weights)
    with pytest.warns(UserWarning, match="tie_word_embeddings is false but there is no lm_head.weight"):
        assert open_model_directory(tmp_path).config.is_tied


def test_a_single_file_beside_an_index_is_used_with_a_warning(tmp_path: Path) -> None:
    """As transformers does: the index is what is left of an earlier save."""
    write_folder(tmp_path)
    index = {"weight_map": {EMBEDDING: "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.warns(UserWarning, match="model.safetensors is used"):
        assert np.array_equal(embedding_of(tmp_path), tiny_weights()[EMBEDDING])


def rewrite_as(folder: Path, dtype: str, convert: np.dtype[np.generic]) -> None:
    """The file again with all values in another type of the format, which `write_safetensors` does not write."""
    tensors = {
        name: tensor.to_float32().astype(convert) for name, tensor in open_safetensors(folder / SINGLE_NAME).items()
    }
    header, start = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [start, start + values.nbytes]}
        start += values.nbytes
    text = json.dumps(header).encode()
    body = b"".join(values.tobytes() for values in tensors.values())
    (folder / SINGLE_NAME).write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_64_bit_floats_are_read(tmp_path: Path) -> None:
    write_folder(tmp_path)
    rewrite_as(tmp_path, "F64", np.dtype("<f8"))
    assert np.array_equal(embedding_of(tmp_path), tiny_weights()[EMBEDDING])


def test_8_bit_floats_are_refused_by_the_name_of_the_tensor(tmp_path: Path) -> None:
    write_folder(tmp_path)
    rewrite_as(tmp_path, "F8_E4M3", np.dtype("u1"))
    with pytest.raises(CheckpointError, match=r"tensor .*weight is F8_E4M3; weights are read as F64"):
        open_model_directory(tmp_path)


def test_a_dynamic_rope_is_the_plain_one_within_the_context(tmp_path: Path) -> None:
    write_folder(tmp_path, config={"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})
    with pytest.warns(UserWarning, match="rope_type dynamic stretches texts beyond"):
        rope = open_model_directory(tmp_path).config.rope
    assert rope is not None
    plain = dataclasses.replace(rope, scaling=None)
    assert np.array_equal(rope.inverse_frequencies(), plain.inverse_frequencies())


def test_duplicate_keys_are_found_at_once() -> None:
    """A list of all names for each name would take minutes here."""
    text = "{" + ",".join(f'"{number}": 0' for number in range(60_000)) + ', "59999": 1}'
    with pytest.raises(CheckpointError, match="'59999' appears twice"):
        parse_json_object(text.encode(), source="file")


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for read in (read_json_object, open_safetensors, read_gguf, read_tokenizer_json, read_sentencepiece_model):
            with pytest.raises(CheckpointError, match="no regular file"):
                read(path)
