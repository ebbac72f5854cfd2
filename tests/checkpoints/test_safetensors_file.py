"""Safetensors files: what is sound is read bit by bit, what is damaged is refused by name, and nothing else happens."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from nextword.checkpoints.safetensors_file import open_safetensors, open_safetensors_folder, write_safetensors
from nextword.errors import CheckpointError
from nextword.models.stored_tensor import StoredTensor
from tests.checkpoints.tiny_folder import header_and_values, tiny_weights, write_parts, write_raw_safetensors


def test_reads_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
        "single": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.array([1.5, -2.0], dtype=np.float16),
        "scalar": np.array(7.0, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }
    save_file(arrays, tmp_path / "a.safetensors")
    tensors = open_safetensors(tmp_path / "a.safetensors")
    assert set(tensors) == set(arrays)
    for name, array in arrays.items():
        assert tensors[name].shape == array.shape
        np.testing.assert_array_equal(tensors[name].to_float32(), array.astype(np.float32))


def test_the_safetensors_library_reads_what_we_write(tmp_path: Path) -> None:
    weights = tiny_weights()
    tensors = {name: StoredTensor(name, "F32", array.shape, array) for name, array in weights.items()}
    path = tmp_path / "b.safetensors"
    write_safetensors(path, tensors, shapes={name: array.shape for name, array in weights.items()}, dtype="F32")
    loaded = load_file(path)
    assert set(loaded) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_truncated_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_raw_safetensors(path, tiny_weights())
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 500, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            open_safetensors(path)


def _changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header["model.norm.weight"].update(fields)

    return change


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "past the end": (_changed(data_offsets=[10**12, 10**12 + 32]), "end at"),
    "claims a huge size": (_changed(shape=[2**40, 2**20], data_offsets=[0, 2**62]), "end at"),
    "overflowing sizes": (_changed(shape=[2**62, 2**62]), "shape|data_offsets"),
    "overlap": (_changed(data_offsets=[0, 32]), "overlaps"),
    "backward offsets": (_changed(data_offsets=[64, 32]), "data_offsets"),
    "negative offsets": (_changed(data_offsets=[-32, 0]), "data_offsets"),
    "fractional offsets": (_changed(data_offsets=[0.5, 32.5]), "data_offsets"),
    "no offsets": (_changed(data_offsets=None), "data_offsets"),
    "shape against bytes": (_changed(shape=[9]), "data_offsets"),
    "shape of booleans": (_changed(shape=[True, 8]), "shape"),
    "shape as text": (_changed(shape="8"), "shape"),
    "unknown type": (_changed(dtype="Q9"), "dtype is 'Q9'"),
    "type as a list": (_changed(dtype=["F32"]), "dtype"),
    "entry as text": (lambda header: header.update({"model.norm.weight": "F32"}), "expected an object"),
    "gap": (lambda header: header.pop("model.norm.weight"), "gap"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_refused_by_file_tensor_and_field(damage: str, tmp_path: Path) -> None:
    change, message = DAMAGES[damage]
    header, values = header_and_values(tiny_weights())
    change(header)
    write_parts(tmp_path / "model.safetensors", header, values)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_safetensors(tmp_path / "model.safetensors")
    assert "model.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_after_the_last_tensor_are_refused(tmp_path: Path) -> None:
    header, values = header_and_values(tiny_weights())
    write_parts(tmp_path / "a.safetensors", header, values + b"more")
    with pytest.raises(CheckpointError, match="4 bytes after the last tensor"):
        open_safetensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        b"GGUF" + b"\0" * 60,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b'{"a"',
        struct.pack("<Q", 2) + b"\xc3\x28",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 15) + b'{"a":{},"a":{}}',
        struct.pack("<Q", 5_000) + b'{"a":' + b"9" * 4994 + b"}",
    ],
)
def test_what_is_no_header_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        open_safetensors(tmp_path / "a.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: cannot be read"):
        open_safetensors(tmp_path / "gone.safetensors")


@settings(max_examples=300, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_bytes_give_tensors_or_a_checkpoint_error(
    edits: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    write_raw_safetensors(path, {"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32)})
    content = bytearray(path.read_bytes())
    for position, byte in edits:
        content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        tensors = open_safetensors(path)
    except CheckpointError:
        return
    assert sum(tensor.data.nbytes for tensor in tensors.values()) <= len(content)


def test_memory_is_not_taken_for_a_size_the_file_merely_claims(tmp_path: Path) -> None:
    huge = {"a": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}
    write_parts(tmp_path / "a.safetensors", huge, b"\0" * 64)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            open_safetensors(tmp_path / "a.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def _sharded(folder: Path, weight_map: object) -> Path:
    write_raw_safetensors(folder / "one.safetensors", {"a": np.ones(2, np.float32)})
    write_raw_safetensors(folder / "two.safetensors", {"b": np.ones(3, np.float32)})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_shards_are_read_as_their_index_says(tmp_path: Path) -> None:
    tensors, size = open_safetensors_folder(_sharded(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"}))
    assert {name: tensor.shape for name, tensor in tensors.items()} == {"a": (2,), "b": (3,)}
    assert size == sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../one.safetensors"}, "weight_map names"),
        ({"a": "/etc/one.safetensors"}, "weight_map names"),
        ({"a": "sub\\one.safetensors"}, "weight_map names"),
        ({"a": ".."}, "weight_map names"),
        ({"a": 3}, "weight_map names"),
        ({"a": ["one.safetensors"]}, "weight_map names"),
        ("one.safetensors", "weight_map is missing or no object"),
        ({"a": "three.safetensors"}, r"three\.safetensors: cannot be read"),
        ({"c": "one.safetensors"}, "puts c in one.safetensors, where it is not"),
        ({"b": "two.safetensors", "a": "two.safetensors"}, "puts a in two.safetensors, where it is not"),
    ],
)
def test_an_index_that_misleads_is_refused(weight_map: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_safetensors_folder(_sharded(tmp_path, weight_map))


def test_a_tensor_the_index_does_not_know_is_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = _sharded(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    write_raw_safetensors(folder / "two.safetensors", {"b": np.ones(3, np.float32), "c": np.ones(1, np.float32)})
    with pytest.warns(UserWarning, match="tensor c is not in model.safetensors.index.json, left out"):
        open_safetensors_folder(folder)
