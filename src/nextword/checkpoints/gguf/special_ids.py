"""Ids of special tokens in GGUF metadata, by llama.cpp's rules for what is missing or beyond the vocabulary."""

from __future__ import annotations

import warnings

from nextword.checkpoints.gguf.metadata import GGUFMetadata

PREFIX = "tokenizer.ggml."
ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
    "sep_token": "seperator_token_id",
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}
"""Name of a special token in chat templates -> key of its id."""
END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
"""Keys of the tokens that end a text, a turn and a message."""
_SENTENCEPIECE = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
"""Ids in SentencePiece vocabularies whose files do not say."""
_NONE = (2**32 - 1, -1)
"""Ids by which a file says that there is no such token."""


def read_special_id(metadata: GGUFMetadata, name: str, num_tokens: int) -> int | None:
    """Return the id under a key, or the default of the kind of vocabulary; None if there is no such token.

    An id beyond the vocabulary is ignored, with a warning, as in llama.cpp. (Its default in byte-level vocabularies, 11
    for any role, is a token of Falcon's and not taken over.) Raises CheckpointError for what is no number.
    """
    default = _SENTENCEPIECE.get(name) if metadata.text(f"{PREFIX}model", "") == "llama" else None
    default = default if default is not None and default < num_tokens else None
    key = PREFIX + name
    if not metadata.has(key):
        return default
    value = metadata.value(key)
    token_id = int(value) if value in _NONE and isinstance(value, int) else metadata.integer(key)
    if 0 <= token_id < num_tokens:
        return token_id
    if token_id not in _NONE or default is not None:
        used = "no such token is known" if default is None else f"{default} is used"
        warnings.warn(f"{metadata.path}: {key} is {token_id}, of {num_tokens} tokens; {used}", stacklevel=5)
    return default
