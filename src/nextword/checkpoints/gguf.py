"""GGUF files, opened: metadata to `ModelConfig`, tensors to our names, the vocabulary to a `Tokenizer`.

In: a file. Out: a `ModelDirectory`. Of architectures, llama so far; of vocabularies, byte-level BPE and SentencePiece.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TypeVar

import numpy as np

from nextword.checkpoints.gguf_reader import GGUFFile, read_gguf
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.errors import CheckpointError, ConfigError, TokenizerError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.fields import ConfigFields
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import require_names, require_shape, weight_shapes
from nextword.text.gguf_vocabulary import GGUFVocabulary, build_byte_level, build_sentencepiece
from nextword.text.tokenizer import Tokenizer

Value = TypeVar("Value")

_STEMS = {
    "embedding": "token_embd",
    "final_norm": "output_norm",
    "output_head": "output",
    "attention_norm": "attn_norm",
    "attention.q_proj": "attn_q",
    "attention.k_proj": "attn_k",
    "attention.v_proj": "attn_v",
    "attention.o_proj": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Our module -> its stem in GGUF."""

_IGNORED = ("rope_freqs.weight",)


def open_gguf(path: Path) -> ModelDirectory:
    """Open a GGUF file. Raises CheckpointError naming file and field for what is damaged or not supported."""
    file = read_gguf(path)
    config = _config(path, file)
    license_name = file.metadata.get("general.license")
    return ModelDirectory(
        path=path,
        format="gguf",
        config=config,
        tensors=_tensors(path, file, config),
        load_tokenizer=functools.partial(_tokenizer, path, file),
        generation_defaults={},
        license=license_name if isinstance(license_name, str) else None,
        size_bytes=path.stat().st_size,
    )


def _get(path: Path, file: GGUFFile, key: str, kind: type[Value]) -> Value:
    """A metadata value of the right type, or a CheckpointError that names it."""
    value = file.metadata.get(key)
    if not isinstance(value, kind):
        found = "is missing" if value is None else f"is {type(value).__name__}, not {kind.__name__}"
        raise CheckpointError(f"{path}: metadata {key} {found}; the file is damaged or of another kind")
    return value


def _config(path: Path, file: GGUFFile) -> ModelConfig:
    """Through the family's own reading of config.json, so that both formats mean the same."""
    architecture = _get(path, file, "general.architecture", str)
    if architecture != "llama":
        raise CheckpointError(f"{path}: general.architecture = {architecture!r}: of GGUF files, llama is supported")
    if "rope_freqs.weight" in file.tensors or "llama.rope.scaling.type" in file.metadata:
        raise CheckpointError(f"{path}: llama.rope.scaling: scaled rotary positions are not read from GGUF yet")
    num_heads = _get(path, file, "llama.attention.head_count", int)
    hidden_size = _get(path, file, "llama.embedding_length", int)
    content: dict[str, object] = {
        "model_type": "llama",
        "vocab_size": len(_get(path, file, "tokenizer.ggml.tokens", list)),
        "hidden_size": hidden_size,
        "intermediate_size": _get(path, file, "llama.feed_forward_length", int),
        "num_hidden_layers": _get(path, file, "llama.block_count", int),
        "num_attention_heads": num_heads,
        "num_key_value_heads": file.metadata.get("llama.attention.head_count_kv", num_heads),
        "head_dim": file.metadata.get("llama.attention.key_length", hidden_size // max(num_heads, 1)),
        "max_position_embeddings": _get(path, file, "llama.context_length", int),
        "rms_norm_eps": _get(path, file, "llama.attention.layer_norm_rms_epsilon", float),
        "rope_theta": file.metadata.get("llama.rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "hidden_act": "silu",
    }
    try:
        return FAMILIES["llama"].config_from_hf(ConfigFields(content, str(path)))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _tensors(path: Path, file: GGUFFile, config: ModelConfig) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    theirs = {name: tensor for name, tensor in file.tensors.items() if name not in _IGNORED}
    shapes = weight_shapes(config)
    for name, shape in shapes.items():
        stem = _gguf_name(name)
        if stem not in theirs:
            raise CheckpointError(f"{path}: tensor {stem} is missing; the file is damaged or of another kind")
        tensor = theirs.pop(stem)
        require_shape(stem, tensor.shape, shape, source=str(path))
        if ".q_proj." in name or ".k_proj." in name:
            tensor = tensor.take_rows(_half_order(shape[0], config.head_dim))
        found[name] = tensor
    if theirs:
        raise CheckpointError(f"{path}: tensor {next(iter(theirs))} does not belong to a llama model of this config")
    require_names(found, shapes, source=str(path))
    return found


def _gguf_name(name: str) -> str:
    """Our parameter name in the scheme of GGUF."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("layers."):
        return f"{_STEMS[module]}.{kind}"
    _, layer, part = module.split(".", 2)
    return f"blk.{layer}.{_STEMS[part]}.{kind}"


def _half_order(num_rows: int, head_dim: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Rows of a rotated projection from pairs side by side, as llama.cpp wants them, to first and second halves."""
    rows = np.arange(num_rows, dtype=np.intp).reshape(-1, head_dim // 2, 2)
    return rows.transpose(0, 2, 1).reshape(-1)


def _tokenizer(path: Path, file: GGUFFile) -> Tokenizer:
    tokens = _get(path, file, "tokenizer.ggml.tokens", list)
    vocabulary = GGUFVocabulary(tokens=tokens, kinds=_get(path, file, "tokenizer.ggml.token_type", list))
    model = _get(path, file, "tokenizer.ggml.model", str)
    try:
        if model == "gpt2":
            merges = _get(path, file, "tokenizer.ggml.merges", list)
            name = str(file.metadata.get("tokenizer.ggml.pre", "default"))
            backend = build_byte_level(vocabulary, merges, pre_tokenizer=name)
        elif model == "llama":
            has_prefix = file.metadata.get("tokenizer.ggml.add_space_prefix", True) is True
            scores = _get(path, file, "tokenizer.ggml.scores", list)
            backend = build_sentencepiece(vocabulary, scores, adds_space_prefix=has_prefix)
        else:
            raise TokenizerError(f"tokenizer.ggml.model = {model!r}: of GGUF vocabularies, gpt2 and llama are read")
    except TokenizerError as error:
        raise CheckpointError(f"{path}: {error}") from None
    ids = {role: file.metadata.get(f"tokenizer.ggml.{key}_token_id") for role, key in _SPECIAL.items()}
    known = {role: value for role, value in ids.items() if isinstance(value, int) and value < len(tokens)}
    ends = dict.fromkeys(known[role] for role in ("eos_token", "eot_token") if role in known)
    template = file.metadata.get("tokenizer.chat_template")
    return Tokenizer(
        backend,
        bos_token_id=known.get("bos_token"),
        eos_token_ids=tuple(ends),
        add_bos=file.metadata.get("tokenizer.ggml.add_bos_token", model == "llama") is True,
        chat_template=template if isinstance(template, str) else None,
        special_variables={role: tokens[token_id] for role, token_id in known.items() if role != "eot_token"},
    )


_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "eot_token": "eot", "unk_token": "unknown", "pad_token": "padding"}
