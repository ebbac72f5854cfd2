"""Stored tensors: each encoding gives the values it stands for, and rows and joins are those of the matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from nextword.errors import CheckpointError
from nextword.models.stored_tensor import FloatDtype, StoredTensor, join_rows


def single(values: object) -> StoredTensor:
    array = np.asarray(values, dtype=np.float32)
    return StoredTensor("t", "F32", array.shape, array)


def quantized(kind: str = "Q8_0", rows: int = 5) -> StoredTensor:
    values = np.random.default_rng(1).standard_normal((rows, 64)).astype(np.float32)
    return StoredTensor("t", kind, (rows, 64), quantize(values, GGMLQuantizationType[kind]))


@pytest.mark.parametrize(
    ("bits", "value"), [(0x3F80, 1.0), (0xC000, -2.0), (0x7F80, np.inf), (0x0001, 2.0**-133), (0x8000, -0.0)]
)
def test_bfloat16_bits_are_the_upper_half_of_a_float32(bits: int, value: float) -> None:
    tensor = StoredTensor("t", "BF16", (1,), np.array([bits], dtype=np.uint16))
    np.testing.assert_array_equal(tensor.to_float32(), np.array([value], dtype=np.float32))


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0 + 2.0**-8, 0x3F80),  # a tie goes to the even neighbour, below
        (1.0 + 3 * 2.0**-8, 0x3F82),  # and above
        (1.0 + 2.0**-8 + 2.0**-20, 0x3F81),
        (np.inf, 0x7F80),
        (-np.inf, 0xFF80),
        (np.nan, 0x7FC0),
    ],
)
def test_values_are_rounded_to_the_nearest_bfloat16(value: float, bits: int) -> None:
    assert single([value]).encoded_as("BF16").data[0] == bits


@given(st.integers(0, 0xFFFF).filter(lambda bits: bits & 0x7F80 != 0x7F80))
def test_every_bfloat16_survives_float32_and_back(bits: int) -> None:
    tensor = StoredTensor("t", "BF16", (1,), np.array([bits], dtype=np.uint16))
    assert single(tensor.to_float32()).encoded_as("BF16").data[0] == bits


@pytest.mark.parametrize(("dtype", "value"), [("F16", 65520.0), ("BF16", 3.4e38)])
def test_a_value_beyond_the_range_is_refused(dtype: FloatDtype, value: float) -> None:
    with pytest.raises(CheckpointError, match=f"beyond the range of {dtype}"):
        single([1.0, value]).encoded_as(dtype)


@pytest.mark.parametrize(
    ("value", "types"),
    [
        (1.5, {"F32", "F16", "BF16"}),
        (1 + 2.0**-10, {"F32", "F16"}),
        (2.0**100, {"F32", "BF16"}),
        (2.0**-25, {"F32", "BF16"}),
        (1 + 2.0**-20, {"F32"}),
        (np.nan, {"F32", "F16", "BF16"}),
        (-np.inf, {"F32", "F16", "BF16"}),
    ],
)
def test_a_type_is_exact_if_it_holds_the_last_value_of_many(value: float, types: set[FloatDtype]) -> None:
    tensor = single([1.0] * 300_000 + [value])
    every: tuple[FloatDtype, ...] = ("F32", "F16", "BF16")
    assert {dtype for dtype in every if tensor.is_exact_as(dtype)} == types


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantised_values_are_those_of_the_gguf_package(kind: str) -> None:
    tensor = quantized(kind)
    expected = dequantize(tensor.data, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(tensor.to_float32(), expected)
    assert tensor.is_quantized


def test_rows_of_a_quantised_matrix_are_taken_without_dequantising() -> None:
    tensor = quantized()
    rows = np.array([3, 0, 3])
    taken = tensor.take_rows(rows)
    assert (taken.dtype, taken.shape) == ("Q8_0", (3, 64))
    np.testing.assert_array_equal(taken.to_float32(), tensor.to_float32()[rows])
    np.testing.assert_array_equal(tensor.take_rows(slice(1, 3)).to_float32(), tensor.to_float32()[1:3])


def test_rows_of_a_file_in_another_order_are_copied_when_they_are_used(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    values.tofile(path := tmp_path / "values")
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=values.shape)
    taken = StoredTensor("t", "F32", values.shape, mapped).take_rows(np.array([3, 0, 2]))
    some, again = taken.take_rows(slice(1, None)), taken.take_rows(np.array([2, 0]))
    for tensor, rows in ((taken, [3, 0, 2]), (some, [0, 2]), (again, [2, 3])):
        assert np.shares_memory(tensor.stored, mapped)
        assert tensor.shape == (len(rows), 3)
        np.testing.assert_array_equal(tensor.data, values[rows])
        np.testing.assert_array_equal(tensor.encoded_as("F16").to_float32(), values[rows])
        np.testing.assert_array_equal(tensor.transposed().data, values[rows].T)
        np.testing.assert_array_equal(tensor.reshaped((1, -1)).data, values[rows][None])


def test_rows_in_memory_are_copied_at_once() -> None:
    whole = single(np.arange(12).reshape(4, 3))
    taken = whole.take_rows(np.array([3, 0]))
    assert not np.shares_memory(taken.stored, whole.stored)
    np.testing.assert_array_equal(taken.data, whole.data[[3, 0]])


def test_transposing_a_quantised_matrix_gives_float32() -> None:
    tensor = quantized()
    assert tensor.transposed().dtype == "F32"
    np.testing.assert_array_equal(tensor.transposed().to_float32(), tensor.to_float32().T)


def test_joined_rows_keep_their_encoding_if_all_share_it() -> None:
    first, second = quantized(rows=2), quantized(rows=3)
    joined = join_rows("both", [first, second])
    assert (joined.name, joined.dtype, joined.shape) == ("both", "Q8_0", (5, 64))
    np.testing.assert_array_equal(joined.to_float32(), np.concatenate([first.to_float32(), second.to_float32()]))


def test_joined_rows_of_unlike_encodings_become_float32() -> None:
    first, second = quantized(rows=2), single(np.ones((1, 64)))
    joined = join_rows("both", [first, second])
    assert (joined.dtype, joined.shape) == ("F32", (3, 64))
    np.testing.assert_array_equal(joined.to_float32()[2], np.ones(64))


@pytest.mark.parametrize("dtype", ["I64", "BOOL", "F8_E4M3"])
def test_an_encoding_nobody_can_read_is_refused_by_name(dtype: str) -> None:
    tensor = StoredTensor("t", dtype, (2,), np.zeros(2, dtype=np.uint8))
    with pytest.raises(CheckpointError, match=f"tensor t: values of type {dtype} cannot be read"):
        tensor.to_float32()


def resident_bytes(path: Path) -> int:
    """Of the file's mapping, what is in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(path)):
            return next(int(field.split()[1]) * 1024 for field in lines if field.startswith("Rss:"))
    return 0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="what is in memory is read from /proc")
def test_a_mapped_tensor_leaves_the_memory_and_can_be_read_again(tmp_path: Path) -> None:
    values = np.arange(2**18, dtype=np.float32).reshape(512, 512)
    values.tofile(path := tmp_path / "values")
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=values.shape)
    tensor = StoredTensor("x", "F32", values.shape, mapped.view(np.ndarray))
    assert tensor.to_float32().sum() > 0
    assert resident_bytes(path) == values.nbytes
    some = tensor.take_rows(slice(3, 7))
    assert some.is_mapped
    some.leave_memory()
    assert resident_bytes(path) == 0
    assert np.array_equal(tensor.to_float32(), values)
    reversed_rows = tensor.take_rows(np.arange(512)[::-1])
    assert not reversed_rows.is_mapped
    assert np.array_equal(reversed_rows.data, values[::-1])
    assert resident_bytes(path) == values.nbytes
    reversed_rows.leave_memory()
    assert resident_bytes(path) == 0


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_was_written_into_a_mapping_stays(tmp_path: Path, mode: Literal["r+", "c"]) -> None:
    np.zeros(2**16, dtype=np.float32).tofile(path := tmp_path / "values")
    mapped = np.memmap(path, dtype=np.float32, mode=mode)
    mapped[:] = 1.5
    StoredTensor("x", "F32", mapped.shape, mapped).leave_memory()
    assert (mapped == 1.5).all()
