"""`read_vocabulary_files`: a byte-level tokenizer from vocab.json and merges.txt, which folders held in older days.

Words are cut by the rules of the tokenizer's class, which is named in the settings: only classes with known rules are
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers

from nextword.errors import CheckpointError
from nextword.text.foreign_errors import translated
from nextword.text.post_processor import put_around
from nextword.text.pre_tokenizers import build_pre_tokenizer, find_rules

VOCABULARY, MERGES = "vocab.json", "merges.txt"
_RULES = {"GPT2Tokenizer": "gpt-2", "Qwen2Tokenizer": "qwen2"}
"""Rules for cutting words by the class of the tokenizer."""


def read_vocabulary_files(folder: Path, class_name: str, settings: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Read a tokenizer. Raises CheckpointError naming the file that is missing, or a class without known rules."""
    missing = [name for name in (VOCABULARY, MERGES) if not (folder / name).is_file()]
    if missing or class_name not in _RULES or settings.get("add_prefix_space"):
        raise CheckpointError(
            f"{folder}: no tokenizer.json, and a tokenizer of class {class_name!r} is not read without it; write one by"
            " transformers:"
            f" AutoTokenizer.from_pretrained({folder.name!r}).save_pretrained({folder.name!r})"
        )
    with translated(f"{VOCABULARY} and {MERGES} are no tokenizer"):
        backend = tokenizers.Tokenizer(models.BPE.from_file(str(folder / VOCABULARY), str(folder / MERGES)))
    if class_name == "Qwen2Tokenizer":
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = build_pre_tokenizer(find_rules(_RULES[class_name]))
    backend.decoder = decoders.ByteLevel()
    return backend


def surround(backend: tokenizers.Tokenizer, settings: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Put BOS before texts and the end-of-sequence token after them as the settings of such a folder say."""
    found = {
        role: backend.token_to_id(variables.get(f"{role}_token", "")) if settings.get(f"add_{role}_token") else None
        for role in ("bos", "eos")
    }
    ids = {role: [] if token_id is None else [token_id] for role, token_id in found.items()}
    put_around(backend, prefix=ids["bos"], suffix=ids["eos"])
