"""Tables of docs/checkpoints.md about GGUF: keys that are asked for while reading, and how others are judged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nextword.checkpoints.gguf import keys, sampling
from nextword.checkpoints.gguf.config import read_gguf_config
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.special_ids import END_KEYS, PREFIX, ROLES
from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer
from nextword.models.families import FAMILIES
from nextword.models.stored_tensor import StoredTensor
from tests.docs.table import names, table

_SIZES: dict[str, object] = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "attention.head_count": 4,
    "attention.layer_norm_rms_epsilon": 1e-6,
}
_SCALINGS: tuple[dict[str, object], ...] = (
    {"rope.scaling.type": "yarn", "rope.scaling.factor": 2.0},
    {"rope.scale_linear": 2.0},
)
_TOKENS: dict[str, object] = {
    "tokens": ["a", "b", "ab"],
    "token_type": [1, 1, 1],
    "merges": ["a b"],
    "scores": [0.0, 0.0, 0.0],
    **dict.fromkeys((*ROLES.values(), *END_KEYS), 0),
}


def model_keys() -> str:
    """Treatment of each key under the name of the architecture."""
    read = _read_of_models()
    own = {key for family in FAMILIES.values() if family.gguf for key in family.gguf.settings.values()} - read
    same = _accepted()
    return table(
        ("key, after `ARCHITECTURE.`", "what we do"),
        [
            (names(read), "read"),
            (names(own), "read, for the families that have it"),
            (names(same), "refused, unless it is read or says what the model does without it"),
            (names(set(keys._OTHER_MODELS) - same), "refused, unless it is read, 0 or false"),
            (names(set(keys._HARMLESS) - read), "without effect on the text, or where it is not read"),
            ("any other", "named in a warning and ignored"),
        ],
    )


def other_keys() -> str:
    """Treatment of the keys of the tokenizer, and of those in front of all."""
    read = _read_of_tokenizers()
    sampling_keys = {sampling._PREFIX + key for key, _ in sampling._KEYS.values()}
    harmless = {PREFIX + name for name in keys._TOKENIZER_HARMLESS} - read
    return table(
        ("key", "what we do"),
        [
            (names(read), "read"),
            (names(sampling_keys), "read: what holds where a call does not say"),
            (names(harmless), "without effect on the tokens, or where it is not read"),
            (f"any other under `{PREFIX}` or `{sampling._PREFIX}`", "named in a warning and ignored"),
            ("any other under `general.`", "ignored"),
        ],
    )


def _accepted() -> set[str]:
    metadata, tensors = _model("llama", {})
    return set(keys._accepted(read_gguf_config(metadata, tensors)[2]))


def _read_of_models() -> set[str]:
    found: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for scaling in _SCALINGS:
            metadata, tensors = _model("llama", scaling)
            read_gguf_config(metadata, tensors)
            found |= {key.removeprefix("llama.") for key in metadata._read if key.startswith("llama.")}
    return found


def _model(architecture: str, settings: Mapping[str, object]) -> tuple[GGUFMetadata, dict[str, StoredTensor]]:
    """Metadata and the tensors that settings are read from."""
    content = {f"{architecture}.{key}": value for key, value in {**_SIZES, **settings}.items()}
    shapes = {"token_embd.weight": (100, 32), "output.weight": (100, 32)}
    tensors = {name: StoredTensor(name, "F32", shape, np.zeros(shape, np.float32)) for name, shape in shapes.items()}
    return GGUFMetadata({"general.architecture": architecture, **content}, Path("model.gguf")), tensors


def _read_of_tokenizers() -> set[str]:
    found: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in ("gpt2", "llama"):
            content: dict[str, Any] = {"general.architecture": "llama", PREFIX + "model": model}
            content |= {PREFIX + key: value for key, value in _TOKENS.items()}
            content |= {"tokenizer.chat_template": "", "tokenizer.chat_template.NAME": ""}
            metadata = GGUFMetadata(content, Path("model.gguf"))
            build_gguf_tokenizer(metadata)
            found |= metadata._read
    return found
