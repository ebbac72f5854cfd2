"""Hugging Face folders: what they say is taken over, what contradicts itself is refused by file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextword.checkpoints.huggingface import read_license
from nextword.checkpoints.open_directory import open_model_directory
from nextword.errors import CheckpointError
from nextword.models.weights import weight_shapes
from tests.checkpoints.tiny_folder import TINY_LLAMA, tiny_weights, write_folder


def test_a_folder_opens_with_its_config_weights_and_defaults(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    (folder / "generation_config.json").write_text('{"temperature": 0.6, "eos_token_id": [2, 3]}')
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: en\n---\n# A model\n")
    directory = open_model_directory(folder)
    assert directory.format == "hf"
    assert directory.config.family == "llama"
    assert directory.config.is_tied
    assert list(directory.tensors) == list(weight_shapes(directory.config))
    weight = directory.tensors["layers.1.attention.k_proj.weight"].to_float32()
    np.testing.assert_array_equal(weight, tiny_weights()["model.layers.1.self_attn.k_proj.weight"])
    assert directory.generation_defaults == {"temperature": 0.6, "eos_token_id": [2, 3]}
    assert directory.license == "apache-2.0"
    assert directory.size_bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\r\ntags:\r\n- x\r\nlicense: 'cc-by-4.0'\r\n---\r\n", "cc-by-4.0"),
        ("---\nlanguage: en\n---\nlicense: mit\n", None),
        ("# no front matter\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_the_licence_comes_from_the_front_matter(card: str, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_license(tmp_path / "README.md") == expected


BAD_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown family": ({"model_type": "bert"}, "model_type is 'bert'; expected one of .*llama"),
    "no family": ({"model_type": None}, "model_type is null; expected"),
    "looking ahead": ({"is_causal": False}, "is_causal is False; expected True"),
    "multimodal": ({"model_type": "gemma3"}, "gemma3 takes images"),
    "unknown activation": ({"hidden_act": "mish"}, "hidden_act is 'mish'; expected one of .*silu"),
    "unknown rope": ({"rope_scaling": {"rope_type": "spiral", "factor": 2.0}}, "rope_scaling.rope_type is 'spiral'"),
    "rope without factor": ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is missing"),
    "rope as text": ({"rope_scaling": "linear"}, "rope_scaling is 'linear'; expected an object"),
    "rope base of one": ({"rope_theta": 1}, "rope theta"),
    "infinite rope base": ({"rope_theta": float("inf")}, "rope_theta is inf"),
    "part of a head rotated": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; expected 1.0"),
    "quantised weights": ({"quantization_config": {"bits": 4}}, "quantization_config is .*nothing else"),
    "size as text": ({"hidden_size": "8"}, "hidden_size is '8'; expected a whole number"),
    "size of zero": ({"vocab_size": 0}, "vocab_size is 0; expected a number from 1"),
    "size as truth": ({"vocab_size": True}, "vocab_size is True; expected a whole number"),
    "a billion layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
    "astronomic size": ({"hidden_size": 10**400}, "hidden_size is "),
    "heads that do not divide": ({"num_attention_heads": 3}, "hidden_size is 8; expected a multiple"),
    "uneven groups": ({"num_key_value_heads": 3, "num_attention_heads": 4}, "num_heads = 4 must be a multiple"),
    "no epsilon": ({"rms_norm_eps": 0}, "norm_eps must be a positive number"),
    "bias as number": ({"attention_bias": 1}, "attention_bias is 1; expected true or false"),
}


@pytest.mark.parametrize("damage", BAD_CONFIGS)
def test_a_config_we_do_not_implement_is_refused_by_field_and_value(damage: str, tmp_path: Path) -> None:
    change, message = BAD_CONFIGS[damage]
    with pytest.raises(CheckpointError, match=message) as caught:
        open_model_directory(write_folder(tmp_path / "m", config=change))
    assert "config.json: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 12}, r"model\.embed_tokens\.weight has shape \[11, 8\], the config asks for \[12, 8\]"),
        ({"vocab_size": 2**31 - 1}, r"embed_tokens\.weight has shape"),
        ({"num_key_value_heads": 2}, r"k_proj\.weight has shape \[4, 8\], the config asks for \[8, 8\]"),
        ({"num_hidden_layers": 3}, r"missing tensor model\.layers\.2\."),
        ({"attention_bias": True}, r"missing tensor .*_proj\.bias"),
        ({"model_type": "qwen3", "head_dim": 4}, r"missing tensor .*q_norm\.weight"),
        ({"model_type": "olmo2"}, r"missing tensor .*q_norm\.weight"),
    ],
)
def test_weights_that_contradict_the_config_are_refused_by_tensor(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_model_directory(write_folder(tmp_path / "m", config=change))


def test_frequency_tables_of_old_checkpoints_are_no_weights(tmp_path: Path) -> None:
    weights = {**tiny_weights(), "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}
    directory = open_model_directory(write_folder(tmp_path / "m", weights=weights))
    assert list(directory.tensors) == list(weight_shapes(directory.config))


def test_files_of_the_bare_model_lack_the_prefix(tmp_path: Path) -> None:
    weights = {name.removeprefix("model."): array for name, array in tiny_weights().items()}
    directory = open_model_directory(write_folder(tmp_path / "m", weights=weights))
    assert directory.tensors["embedding.weight"].shape == (11, 8)


def test_a_head_equal_to_the_embedding_is_tied_if_the_flag_says_so(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    assert open_model_directory(write_folder(tmp_path / "a", weights=weights)).config.is_tied
    untied = write_folder(tmp_path / "b", weights=weights, config={"tie_word_embeddings": False})
    assert not open_model_directory(untied).config.is_tied


def test_a_head_unlike_the_embedding_is_used_with_a_warning_though_the_flag_says_tied(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1
    with pytest.warns(UserWarning, match=r"tie_word_embeddings is true but lm_head\.weight differs"):
        directory = open_model_directory(write_folder(tmp_path / "m", weights=weights))
    assert not directory.config.is_tied
    np.testing.assert_array_equal(directory.tensors["output_head.weight"].to_float32(), weights["lm_head.weight"])


def test_an_empty_folder_is_no_model_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        open_model_directory(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "a pickle, which can run any code"),
        ("consolidated.safetensors", "no model.safetensors and no model.safetensors.index.json, but consolidated"),
        ("model.gguf", r"name the file instead: .*model\.gguf"),
        ("adapter_config.json", "holds an adapter"),
        ("notes.txt", r"no model\.safetensors"),
    ],
)
def test_a_folder_without_safetensors_is_explained(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY_LLAMA))
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=message):
        open_model_directory(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pytorch_model.bin", b"\x80\x02", "a pickle"),
        ("model.safetensors", b"\0" * 16, "name the folder"),
        ("poem.txt", b"Shall I compare", "begins with b'Shal'"),
        ("empty", b"", "begins with b''"),
    ],
)
def test_a_file_of_another_kind_is_explained(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_model_directory(tmp_path / name)


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: cannot be read"):
        open_model_directory(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'{"model_type": "llama", "model_type": "gpt2"}'])
def test_a_config_that_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        open_model_directory(folder)
