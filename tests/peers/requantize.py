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

from tests.peers.run_llama_cpp import library


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
            data = quantized(values, kind)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantized(values: npt.NDArray[np.float32], kind: GGMLQuantizationType) -> npt.NDArray[np.uint8]:
    """Rows of whole blocks, as llama.cpp rounds them without an importance matrix: (rows, bytes)."""
    values = np.ascontiguousarray(values)
    block, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = values.shape
    out = np.empty((rows, columns // block * num_bytes), np.uint8)
    quantize: Any = library().ggml_quantize_chunk
    quantize.restype, quantize.argtypes = ctypes.c_size_t, [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p,
    ]  # fmt: skip
    written = quantize(int(kind), values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    assert written == out.nbytes
    return out
