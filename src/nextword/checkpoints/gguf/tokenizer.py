"""`build_gguf_tokenizer`: build a `Tokenizer` from the metadata of a GGUF file (the keys under `tokenizer.`)."""

from __future__ import annotations

from collections.abc import Mapping

import tokenizers

from nextword.checkpoints.gguf.end_tokens import end_token_ids
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.vocabulary import (
    GGUFVocabulary,
    TokenKind,
    build_byte_level,
    build_sentencepiece,
)
from nextword.errors import CheckpointError, TokenizerError
from nextword.text.post_processor import put_around
from nextword.text.pre_tokenizers import find_rules
from nextword.text.tokenizer import Tokenizer

_PREFIX = "tokenizer.ggml."
_ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
"""Name of a special token in chat templates -> key of its id."""
_TEMPLATE = "tokenizer.chat_template"
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def build_gguf_tokenizer(metadata: GGUFMetadata) -> Tokenizer:
    """Build the tokenizer. Raises CheckpointError naming file and key if lists are missing or do not fit together."""
    tokens = metadata.texts(_PREFIX + "tokens")
    if not tokens:
        metadata.refuse(_PREFIX + "tokens", "at least one token")
    ids = {role: _token_id(metadata, key, len(tokens)) for role, key in _ROLES.items()}
    vocabulary = GGUFVocabulary(tokens=tokens, kinds=_kinds(metadata, len(tokens)), unknown_token_id=ids["unk_token"])
    try:
        backend = _build_backend(metadata, vocabulary)
    except TokenizerError as error:
        raise CheckpointError(f"{metadata.path}: {error}") from None
    ends = [_token_id(metadata, key, len(tokens)) for key in _END_KEYS]
    put_around(backend, prefix=_added(metadata, "bos", ids), suffix=_added(metadata, "eos", ids))
    return Tokenizer(
        backend,
        bos_token_id=ids["bos_token"],
        eos_token_ids=end_token_ids(tokens, [one for one in ends if one is not None]),
        chat_template=metadata.text(_TEMPLATE) if metadata.has(_TEMPLATE) else None,
        named_templates={key.removeprefix(f"{_TEMPLATE}."): metadata.text(key) for key in _named_templates(metadata)},
        special_variables={role: tokens[token_id] for role, token_id in ids.items() if token_id is not None},
        other_tokens=vocabulary.other_tokens(),
    )


def _named_templates(metadata: GGUFMetadata) -> list[str]:
    return [key for key in metadata.content if key.startswith(f"{_TEMPLATE}.")]


def _build_backend(metadata: GGUFMetadata, vocabulary: GGUFVocabulary) -> tokenizers.Tokenizer:
    model = metadata.text(_PREFIX + "model")
    if model == "gpt2":
        return build_byte_level(vocabulary, metadata.texts(_PREFIX + "merges"), pre_tokenizer=_pre_tokenizer(metadata))
    if model != "llama":
        metadata.refuse(_PREFIX + "model", "gpt2 (byte-level BPE) or llama (SentencePiece BPE)")
    is_gemma = metadata.text("general.architecture").startswith("gemma")
    # The scores in Gemma's files do not follow the order of its merges; the order of its tokens does.
    count = len(vocabulary.tokens)
    scores = [-position for position in range(count)] if is_gemma else _scores(metadata, count)
    adds_space = metadata.flag(_PREFIX + "add_space_prefix", not is_gemma)
    return build_sentencepiece(vocabulary, scores, adds_space_prefix=adds_space)


def _scores(metadata: GGUFMetadata, count: int) -> list[float]:
    return metadata.numbers(_PREFIX + "scores", length=count)


def _kinds(metadata: GGUFMetadata, count: int) -> list[int]:
    key = _PREFIX + "token_type"
    if not metadata.has(key):
        return [TokenKind.NORMAL] * count
    return list(map(int, metadata.numbers(key, length=count)))


def _pre_tokenizer(metadata: GGUFMetadata) -> str:
    return metadata.text(_PREFIX + "pre", "default")


def _added(metadata: GGUFMetadata, role: str, ids: Mapping[str, int | None]) -> list[int]:
    """Return BOS or the end-of-sequence token if the file puts it around each text."""
    token_id = ids[f"{role}_token"]
    default = role == "bos" and _adds_bos_by_default(metadata)
    return [token_id] if token_id is not None and metadata.flag(f"{_PREFIX}add_{role}_token", default) else []


def _adds_bos_by_default(metadata: GGUFMetadata) -> bool:
    """Return the default for a file without the key: SentencePiece begins with BOS, as do some byte-level ones."""
    if metadata.text(_PREFIX + "model") == "llama":
        return True
    return find_rules(_pre_tokenizer(metadata)).adds_bos


def _token_id(metadata: GGUFMetadata, name: str, count: int) -> int | None:
    key = _PREFIX + name
    if not metadata.has(key):
        return None
    token_id = metadata.integer(key)
    if token_id >= count:
        metadata.refuse(key, f"an id below {count}, the number of tokens")
    return token_id
