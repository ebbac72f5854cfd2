"""`load_tokenizer_folder`: build a `Tokenizer` from the tokenizer files of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from nextword.errors import CheckpointError, TokenizerError
from nextword.json_file import read_json_object
from nextword.text.chat_template_files import DEFAULT, read_chat_templates
from nextword.text.special_tokens import add_tokens, read_special_tokens
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_json import read_tokenizer_json


def load_tokenizer_folder(folder: Path) -> Tokenizer:
    """Read tokenizer.json and what the files beside it add: special tokens, their names, chat templates, end tokens.

    End-of-sequence ids come from generation_config.json, else config.json, else the tokenizer's eos_token. Raises
    CheckpointError naming the file that is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(f"{folder}: no tokenizer.json; save the tokenizer as a fast one and add it")
    settings = _read(folder / "tokenizer_config.json")
    try:
        backend = read_tokenizer_json(path)
        found = read_special_tokens(folder, settings, backend)
        add_tokens(backend, found)
        bos = found.variables.get("bos_token")
        templates = read_chat_templates(folder, settings)
        return Tokenizer(
            backend,
            bos_token_id=None if bos is None else backend.token_to_id(bos),
            eos_token_ids=_end_token_ids(folder, backend, found.variables),
            chat_template=templates.pop(DEFAULT, None),
            named_templates=templates,
            special_variables=found.variables,
        )
    except TokenizerError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def _end_token_ids(folder: Path, backend: tokenizers.Tokenizer, variables: Mapping[str, str]) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        ids = _read(folder / name).get("eos_token_id")
        if isinstance(ids, int):
            return (ids,)
        if isinstance(ids, list) and all(isinstance(token_id, int) for token_id in ids):
            return tuple(ids)
    token_id = backend.token_to_id(variables["eos_token"]) if "eos_token" in variables else None
    return () if token_id is None else (token_id,)


def _read(path: Path) -> dict[str, Any]:
    """Read the object in a settings file; {} if there is no such file."""
    return read_json_object(path) if path.exists() else {}
