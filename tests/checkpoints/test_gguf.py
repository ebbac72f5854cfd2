"""GGUF files: what is damaged is refused by file and field; the real model opens and answers."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.reader import read_gguf
from nextword.errors import CheckpointError

MATRIX = np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "ab"])
    writer.add_array("tokenizer.ggml.scores", [0.5, 1.5, 2.5])
    writer.add_tensor("plain", MATRIX)
    quantised = gguf.quants.quantize(MATRIX, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("quantised", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_metadata_and_tensors_are_read(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(whole)
    file = read_gguf(path)
    assert GGUFMetadata(file.metadata, path).texts("tokenizer.ggml.tokens") == ["a", "b", "ab"]
    assert np.array_equal(file.tensors["plain"].to_float32(), MATRIX)
    assert np.abs(file.tensors["quantised"].to_float32() - MATRIX).max() < 0.02


@settings(max_examples=150, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(whole: bytes, tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.gguf"
    path.write_bytes(whole[: int((len(whole) - 32) * share)])
    with pytest.raises(CheckpointError, match=r"cut\.gguf"):
        read_gguf(path)


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 0.5), value=st.integers(0, 255))
def test_a_damaged_byte_gives_an_error_or_a_file(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, place: float, value: int
) -> None:
    damaged = bytearray(whole)
    damaged[int(len(whole) * place)] = value
    path = tmp_path_factory.mktemp("flip") / "flip.gguf"
    path.write_bytes(damaged)
    try:
        read_gguf(path)
    except CheckpointError as error:
        assert "flip.gguf" in str(error)  # noqa: PT017


@pytest.mark.model
def test_the_real_model_names_the_capital_of_france() -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    import nextword as nw

    model = nw.load("smollm2-135m", weights="f32")  # 8-bit activations tip the close first word
    answer = model.chat([{"role": "user", "content": "What is the capital of France?"}], temperature=0, max_tokens=20)
    assert "Paris" in answer.text
    assert answer.completions[0].finish_detail == "end_of_sequence"
