"""A Hugging Face folder of a tiny Llama, written without any library, for tests to open and to damage."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

TINY_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 11,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


def tiny_weights() -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Random weights of the config above, by the names that Llama is published with."""
    random = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (11, 8), "model.norm.weight": (8,)}
    for layer in range(2):
        stem = f"model.layers.{layer}."
        shapes |= {stem + f"{name}.weight": (8,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {stem + f"self_attn.{name}_proj.weight": (8, 8) for name in "qo"}
        shapes |= {stem + f"self_attn.{name}_proj.weight": (4, 8) for name in "kv"}
        shapes |= {stem + f"mlp.{name}_proj.weight": (12, 8) for name in ("gate", "up")}
        shapes[stem + "mlp.down_proj.weight"] = (8, 12)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_folder(folder: Path, *, config: dict[str, Any] | None = None, weights: dict[str, Any] | None = None) -> Path:
    """config.json and model.safetensors; `config` adds to or replaces fields of the tiny Llama's."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**TINY_LLAMA, **(config or {})}))
    write_raw_safetensors(folder / "model.safetensors", tiny_weights() if weights is None else weights)
    return folder


def header_and_values(weights: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The two parts of a safetensors file."""
    header: dict[str, Any] = {}
    values = b""
    for name, array in weights.items():
        end = len(values) + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(values), end]}
        values += array.tobytes()
    return header, values


def write_raw_safetensors(path: Path, weights: dict[str, Any]) -> None:
    """The file, unchecked."""
    write_parts(path, *header_and_values(weights))


def write_parts(path: Path, header: object, values: bytes) -> None:
    """A file with this header, true or not, and these values."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)
