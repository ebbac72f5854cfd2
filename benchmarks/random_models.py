"""Models of the sizes that people use, with random weights: their speed and memory are those of trained ones.

    python -m benchmarks.random_models --shape 1B --kinds F16 Q4_K_M --folder build/bench

A shape is written as an F16 GGUF file with SmolLM2's tokenizer; llama.cpp's own library quantises it to other
kinds. Each row of a matrix has a spread of its own, as in trained weights. A seed gives the same bytes again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tyro
from gguf import GGUFReader, GGUFWriter

from benchmarks.model_files import FOLDER
from nextword.checkpoints.catalogue import resolve

SEED = 0
SPREAD, ROW_SPREAD = 0.02, 0.3
"""Standard deviation of weights, and that of the logarithm of each row's own factor."""
SHARED_FIELDS = ("general.license", "tokenizer.")
"""Beginnings of the fields that are taken over from the file with the tokenizer."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama with tied embeddings."""

    num_layers: int
    hidden: int
    wide: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int = 49152
    context: int = 8192

    def matrices_of_layer(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of each matrix, by its name in a layer."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        return {
            "attn_q": (queries, self.hidden),
            "attn_k": (keys, self.hidden),
            "attn_v": (keys, self.hidden),
            "attn_output": (self.hidden, queries),
            "ffn_gate": (self.wide, self.hidden),
            "ffn_up": (self.wide, self.hidden),
            "ffn_down": (self.hidden, self.wide),
        }

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by its name in GGUF files."""
        found: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocab_size, self.hidden)}
        for layer in range(self.num_layers):
            found |= {f"blk.{layer}.{norm}.weight": (self.hidden,) for norm in ("attn_norm", "ffn_norm")}
            found |= {f"blk.{layer}.{name}.weight": sizes for name, sizes in self.matrices_of_layer().items()}
        return found | {"output_norm.weight": (self.hidden,)}


SHAPES = {
    "1B": Shape(num_layers=16, hidden=2048, wide=8192, num_heads=32, num_kv_heads=8, head_dim=64),
    "3B": Shape(num_layers=28, hidden=3072, wide=8192, num_heads=24, num_kv_heads=8, head_dim=128),
}
"""Those of Llama 3.2, with SmolLM2's vocabulary."""


def main(shape: str, kinds: tuple[str, ...] = ("F16", "Q4_K_M"), folder: Path = FOLDER) -> None:
    """Write models with random weights.

    Args:
        shape: 1B or 3B.
        kinds: F16, or what llama.cpp calls a mixture of quantised tensors, such as Q4_K_M or Q8_0.
        folder: of the files.
    """
    for kind in kinds:
        print(random_model(shape, kind, folder), flush=True)


def random_model(shape: str, kind: str, folder: Path = FOLDER) -> Path:
    """The path of a model of that shape and kind, made where it is not there yet. Raises ImportError."""
    path = folder / f"random-{shape}.{kind}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        if kind == "F16":
            write_random(partial, SHAPES[shape], shape)
        else:
            _quantize(random_model(shape, "F16", folder), partial, kind)
        partial.rename(path)
    return path


def write_random(path: Path, shape: Shape, name: str, chat_template: str | None = None) -> None:
    """Write the F16 file, one tensor at a time, with another chat template than SmolLM2's if one is given."""
    writer = GGUFWriter(path, arch="llama")
    _add_fields(writer, shape, name)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    tensors = shape.tensors()
    for tensor, sizes in tensors.items():
        dtype = np.dtype(np.float16 if len(sizes) == 2 else np.float32)
        writer.add_tensor_info(tensor, sizes, dtype, int(np.prod(sizes)) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for index, sizes in enumerate(tensors.values()):
        writer.write_tensor_data(_weights(np.random.default_rng([SEED, index]), sizes))
    writer.close()


def _add_fields(writer: GGUFWriter, shape: Shape, name: str) -> None:
    writer.add_name(f"Random Llama {name}")
    writer.add_block_count(shape.num_layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.wide)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(500_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_file_type(1)  # mostly F16
    for field in GGUFReader(resolve("smollm2-135m")).fields.values():
        if field.name.startswith(SHARED_FIELDS):
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1])


def _weights(random: np.random.Generator, sizes: tuple[int, ...]) -> npt.NDArray[np.float16] | npt.NDArray[np.float32]:
    """Factors of a norm near one, or a matrix."""
    if len(sizes) == 1:
        return (1 + 0.1 * random.standard_normal(sizes, dtype=np.float32)).astype(np.float32)
    rows: npt.NDArray[np.float32] = SPREAD * np.exp(
        ROW_SPREAD * random.standard_normal((sizes[0], 1), dtype=np.float32)
    )
    matrix: npt.NDArray[np.float32] = random.standard_normal(sizes, dtype=np.float32) * rows
    return matrix.astype(np.float16)


def _quantize(source: Path, target: Path, kind: str) -> None:
    """Let llama.cpp's library quantise a file."""
    import ctypes

    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp cannot make {target.name} of {source.name}")


if __name__ == "__main__":
    tyro.cli(main)
