"""A GGUF file made again with other kinds of blocks, which llama.cpp's quantizer makes.

The quantizer is the one inside the wheel of xllamacpp. Its `llama_model_quantize` is not there, so mixtures of kinds
are chosen here, tensor by tensor.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType

from nextword.checkpoints.gguf.types import BLOCK_TYPES
from tests.peers.run_llama_cpp import library

NEED_IMPORTANCE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS")
"""Kinds that llama.cpp does not make without importances of the columns."""


def requantize(source: Path, target: Path, kinds: Mapping[str, str]) -> None:
    """Write a file with the fields and tensors of another; `kinds` names the new kind of some tensors."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, arch="")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF."):
            writer.kv_data[0].pop(field.name, None)
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1])
    for tensor in reader.tensors:
        kind, data = tensor.tensor_type, tensor.data
        if tensor.name in kinds:
            kind, values = GGMLQuantizationType[kinds[tensor.name]], gguf.quants.dequantize(data, kind)
            data = quantized(values, kind.name)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantized(values: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.uint8]:
    """Rows of whole blocks, as llama.cpp rounds them if all columns are equally important: (rows, bytes)."""
    values = np.ascontiguousarray(values)
    number, (_, block, num_bytes) = next((number, of) for number, of in BLOCK_TYPES.items() if of.name == kind)
    rows, columns = values.shape
    out, importance = np.empty((rows, columns // block * num_bytes), np.uint8), np.ones(columns, np.float32)
    quantize: Any = library().ggml_quantize_chunk
    quantize.restype, quantize.argtypes = ctypes.c_size_t, [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p,
    ]  # fmt: skip
    of_columns = importance.ctypes.data if kind in NEED_IMPORTANCE else None
    written = quantize(number, values.ctypes.data, out.ctypes.data, 0, rows, columns, of_columns)
    assert written == out.nbytes
    return out


def dequantized(encoded: npt.NDArray[np.uint8], kind: str, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The values that llama.cpp gives to blocks."""
    name = f"q{kind[1:]}" if kind.endswith("_K") else kind.lower()
    dequantize = getattr(library(), f"dequantize_row_{name}")
    dequantize.restype, dequantize.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    values = np.empty(shape, np.float32)
    dequantize(encoded.ctypes.data, values.ctypes.data, values.size)
    return values
