"""`load_tokenizer_folder`: build a `Tokenizer` from the tokenizer files of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from nextword.errors import CheckpointError, TokenizerError
from nextword.json_file import read_json_object
from nextword.text.tokenizer import Tokenizer

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Special tokens by the names that chat templates may use."""


def load_tokenizer_folder(folder: Path) -> Tokenizer:
    """Read tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja, and the end tokens.

    End-of-sequence ids come from generation_config.json, else config.json, else the tokenizer's eos_token. Raises
    CheckpointError naming the file that is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(f"{folder}: no tokenizer.json; save the tokenizer as a fast one and add it")
    try:
        backend = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
    backend.no_truncation()  # left over from training in some files; would silently truncate prompts
    backend.no_padding()
    settings = {**_read(folder / "special_tokens_map.json"), **_read(folder / "tokenizer_config.json")}
    variables = {role: text for role in _ROLES if (text := _token_content(settings.get(role))) is not None}
    bos = backend.token_to_id(variables["bos_token"]) if "bos_token" in variables else None
    try:
        return Tokenizer(
            backend,
            bos_token_id=bos,
            eos_token_ids=_end_token_ids(folder, backend, variables),
            add_bos=bos is not None and _adds_bos(backend, bos),
            chat_template=_chat_template(folder, settings),
            special_variables=variables,
        )
    except TokenizerError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def _adds_bos(backend: tokenizers.Tokenizer, bos_token_id: int) -> bool:
    """Return True if the post-processor puts BOS before texts; its effect counts, not a flag in the settings."""
    return list(backend.encode("").ids[:1]) == [bos_token_id]


def _end_token_ids(folder: Path, backend: tokenizers.Tokenizer, variables: Mapping[str, str]) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        ids = _read(folder / name).get("eos_token_id")
        if isinstance(ids, int):
            return (ids,)
        if isinstance(ids, list) and all(isinstance(token_id, int) for token_id in ids):
            return tuple(ids)
    token_id = backend.token_to_id(variables["eos_token"]) if "eos_token" in variables else None
    return () if token_id is None else (token_id,)


def _chat_template(folder: Path, settings: Mapping[str, object]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TokenizerError(f"chat_template.jinja is not UTF-8: byte {error.start}") from None
    template = settings.get("chat_template")
    if isinstance(template, list):  # several by name: [{"name": "default", "template": ...}, ...]
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    if template is None or isinstance(template, str):
        return template
    raise TokenizerError(f"tokenizer_config.json: chat_template must be text, not {type(template).__name__}")


def _token_content(token: object) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _read(path: Path) -> dict[str, Any]:
    """Read the object in a settings file; {} if there is no such file."""
    return read_json_object(path) if path.exists() else {}
