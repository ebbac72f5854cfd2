"""Models split over several files, files of the other byte order, and GGUF files that hold no model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from nextword.checkpoints.gguf.reader import read_gguf
from nextword.checkpoints.gguf.splits import read_gguf_parts
from nextword.checkpoints.open_directory import open_model_directory, open_tokenizer
from nextword.errors import CheckpointError
from tests.checkpoints.test_gguf_config import METADATA, refusal, tiny_weights, write_tiny

VOCABULARY: dict[str, Any] = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581ab", "c", "d", "e"],
    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -5.0, -5.0, -5.0, -1.0, -2.0, -5.0, -5.0, -5.0],
    "tokenizer.ggml.token_type": [2, 3, 3, *[1] * 8],
    "tokenizer.ggml.bos_token_id": 1,
}


def write_split(folder: Path, *, tensors_each: int = 8) -> list[Path]:
    """The tiny Llama with random weights, as the gguf package splits it."""
    writer = gguf.GGUFWriter(str(folder / "tiny.gguf"), "llama", split_max_tensors=tensors_each)
    for key, value in METADATA.items():
        writer.add_uint32(key, value) if isinstance(value, int) else writer.add_float32(key, value)
    random = np.random.default_rng(0)
    for name, zeros in tiny_weights().items():
        writer.add_tensor(name, np.asarray(random.standard_normal(zeros.shape), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("*.gguf"))


@pytest.mark.parametrize("given", [0, 1, 2])
def test_a_model_in_parts_is_read_whole_from_any_of_them(given: int, tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    assert [part.name for part in parts] == [f"tiny-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    directory = open_model_directory(parts[given])
    random = np.random.default_rng(0)
    expected = {
        name: np.asarray(random.standard_normal(zeros.shape), np.float32) for name, zeros in tiny_weights().items()
    }
    assert np.array_equal(directory.tensors["embedding.weight"].to_float32(), expected["token_embd.weight"])
    assert np.array_equal(directory.tensors["layers.1.mlp.down_proj.weight"].data, expected["blk.1.ffn_down.weight"])
    assert directory.size_bytes == sum(part.stat().st_size for part in parts)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    parts[1].unlink()
    assert refusal(parts[0]).endswith("missing beside it: tiny-00002-of-00003.gguf")


def test_a_part_of_another_name_says_how_it_must_be_named(tmp_path: Path) -> None:
    renamed = write_split(tmp_path)[0].rename(tmp_path / "model.gguf")
    assert "is one of 3 parts of a model; to find the others it must be named STEM-00001-of-00003" in refusal(renamed)


def test_a_part_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    shutil.copy(parts[1], parts[2])
    assert "is part 2 of 3 by its metadata; expected part 3 of 3" in _refused_part(parts[0])


def test_a_part_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    parts, others = write_split(tmp_path), write_split(tmp_path / "other", tensors_each=7)
    shutil.copy(others[2], parts[2])
    assert "is in another part, too" in _refused_part(parts[0])


def test_parts_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    parts = write_split(tmp_path)
    weights = tiny_weights()
    changes = {"split.no": 2, "split.count": 3, "split.tensors.count": 20}
    shutil.copy(write_tiny(tmp_path / "other", changes, {"output_norm.extra": weights["output_norm.weight"]}), parts[2])
    assert "split.tensors.count is 20, the parts hold " in _refused_part(parts[0])


def _refused_part(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_gguf_parts(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_big_endian(path: Path, kind: gguf.GGMLQuantizationType | None = None) -> np.ndarray[Any, Any]:
    """A file as the gguf package writes it on and for big-endian machines."""
    values = np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)
    writer = gguf.GGUFWriter(str(path), "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_uint32("llama.block_count", 7)
    writer.add_array("tokenizer.ggml.tokens", ["a", "\N{GREEK SMALL LETTER OMEGA}"])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
    if kind is None:
        writer.add_tensor("half", values.astype(np.float16))
        writer.add_tensor("single", values)
    else:
        writer.add_tensor("blocks", gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    values = write_big_endian(tmp_path / "big.gguf")
    file = read_gguf(tmp_path / "big.gguf")
    assert file.metadata["llama.block_count"] == 7
    assert file.metadata["tokenizer.ggml.tokens"] == ["a", "\N{GREEK SMALL LETTER OMEGA}"]
    assert file.metadata["tokenizer.ggml.scores"] == [0.5, -1.0]
    assert np.array_equal(file.tensors["single"].to_float32(), values)
    assert np.array_equal(file.tensors["half"].to_float32(), values.astype(np.float16).astype(np.float32))


def test_blocks_in_a_big_endian_file_are_refused_with_the_remedy(tmp_path: Path) -> None:
    write_big_endian(tmp_path / "big.gguf", gguf.GGMLQuantizationType.Q8_0)
    with pytest.raises(CheckpointError, match=r"'blocks' has blocks of type Q8_0 .* gguf-convert-endian FILE little"):
        read_gguf(tmp_path / "big.gguf")


def test_a_vocabulary_without_weights_tokenizes_and_says_what_it_is(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, VOCABULARY, weights={})
    assert open_tokenizer(path).encode("ab") == [1, 7]
    assert "a vocabulary without weights: it can tokenize, but not generate" in refusal(path)


def test_more_tokens_than_rows_are_refused(tmp_path: Path) -> None:
    more = {**VOCABULARY, "tokenizer.ggml.tokens": [*VOCABULARY["tokenizer.ggml.tokens"], "f"]}
    directory = open_model_directory(write_tiny(tmp_path, more))
    with pytest.raises(CheckpointError, match=r"ggml\.tokens has 12 tokens, the embedding 11 rows"):
        _ = directory.tokenizer


def test_a_vocabulary_of_any_architecture_tokenizes(tmp_path: Path) -> None:
    assert open_tokenizer(write_tiny(tmp_path, VOCABULARY, {}, "some-new-one")).encode("ab") == [1, 7]


@pytest.mark.parametrize(
    ("changes", "architecture", "named"),
    [
        ({"general.type": "adapter"}, "llama", "a LoRA adapter, not a model; open its base model"),
        ({"general.type": "mmproj"}, "clip", "the image or audio encoder of a model (mmproj)"),
        ({}, "clip", "the image or audio encoder of a model (mmproj)"),
        ({"general.type": "imatrix"}, "llama", "general.type is 'imatrix'; expected model"),
    ],
)
def test_what_is_no_model_is_called_what_it_is(
    changes: dict[str, Any], architecture: str, named: str, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path, changes, architecture=architecture)
    assert named in refusal(path)
    with pytest.raises(CheckpointError):
        open_tokenizer(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "no regular file" in refusal(tmp_path / "pipe.gguf")
    assert "no regular file" in refusal(Path("/dev/zero"))
