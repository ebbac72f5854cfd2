"""`build_gguf_tokenizer`: build a `Tokenizer` from the metadata of a GGUF file (the keys under `tokenizer.`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import tokenizers

from nextword.checkpoints.gguf.end_tokens import end_token_ids
from nextword.checkpoints.gguf.keys import check_unread_of_tokenizer
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.special_ids import END_KEYS, PREFIX, ROLES, read_special_id
from nextword.checkpoints.gguf.vocabulary import GGUFVocabulary, build_byte_level, build_sentencepiece
from nextword.errors import CheckpointError, TokenizerError
from nextword.text.piece_tokenizer import TokenKind
from nextword.text.post_processor import put_around
from nextword.text.pre_tokenizers import find_rules
from nextword.text.tokenizer import Tokenizer

PHI3_NAMES = ("phi-3", "phi3")
"""Parts of the names of models whose published tokenizer strips white space after special tokens."""
_NOT_STRIPPED = ("<unk>", "<s>", "<|endoftext|>")


def build_gguf_tokenizer(metadata: GGUFMetadata, *, num_rows: int | None = None) -> Tokenizer:
    """Build the tokenizer; `num_rows`: those of the embedding, where the model is known.

    Raises CheckpointError naming file and key if lists are missing or do not fit together, or if texts could get tokens
    that the embedding has no row for.
    """
    tokens = _tokens(metadata, num_rows)
    ids = {role: read_special_id(metadata, key, len(tokens)) for role, key in ROLES.items()}
    vocabulary = GGUFVocabulary(
        tokens=tokens,
        kinds=_kinds(metadata, len(tokens)),
        unknown_token_id=ids["unk_token"],
        stripping=_stripping(metadata, tokens),
    )
    _warn_of_words(metadata)
    try:
        backend = _build_backend(metadata, vocabulary)
    except TokenizerError as error:
        raise CheckpointError(f"{metadata.path}: {error}") from None
    ends = [read_special_id(metadata, key, len(tokens)) for key in END_KEYS]
    put_around(backend, prefix=_added(metadata, "bos", ids), suffix=_added(metadata, "eos", ids))
    template, named_templates = _chat_templates(metadata)
    check_unread_of_tokenizer(metadata)
    return Tokenizer(
        backend,
        bos_token_id=ids["bos_token"],
        eos_token_ids=end_token_ids(tokens, [one for one in ends if one is not None]),
        chat_template=template,
        named_templates=named_templates,
        special_variables={role: tokens[token_id] for role, token_id in ids.items() if token_id is not None},
        other_tokens=vocabulary.other_tokens(),
        begins_chats=True,
    )


def _tokens(metadata: GGUFMetadata, num_rows: int | None) -> list[str]:
    tokens = metadata.texts(PREFIX + "tokens")
    if not tokens:
        metadata.refuse(PREFIX + "tokens", "at least one token")
    if num_rows is not None and len(tokens) > num_rows:
        raise CheckpointError(
            f"{metadata.path}: tokenizer.ggml.tokens has {len(tokens)} tokens, the embedding {num_rows} rows; "
            "vocabulary and weights belong to different models"
        )
    return tokens


def _build_backend(metadata: GGUFMetadata, vocabulary: GGUFVocabulary) -> tokenizers.Tokenizer:
    model = metadata.text(PREFIX + "model")
    if model == "gpt2":
        return build_byte_level(
            vocabulary, metadata.stored_texts(PREFIX + "merges"), pre_tokenizer=_pre_tokenizer(metadata)
        )
    if model != "llama":
        metadata.refuse(PREFIX + "model", "gpt2 (byte-level BPE) or llama (SentencePiece BPE)")
    is_gemma = metadata.text("general.architecture").startswith("gemma")
    # The scores in Gemma's files do not follow the order of its merges; the order of its tokens does.
    count = len(vocabulary.tokens)
    scores = [-position for position in range(count)] if is_gemma else _scores(metadata, count)
    adds_space = metadata.flag(PREFIX + "add_space_prefix", not is_gemma)
    return build_sentencepiece(vocabulary, scores, adds_space_prefix=adds_space)


def _scores(metadata: GGUFMetadata, count: int) -> list[float]:
    """Return the scores: one for each token; all 0 if there are none."""
    key = PREFIX + "scores"
    return metadata.numbers(key, at_least=count)[:count] if metadata.has(key) else [0.0] * count


def _kinds(metadata: GGUFMetadata, count: int) -> list[int]:
    key = PREFIX + "token_type"
    if not metadata.has(key):
        return [TokenKind.NORMAL] * count
    kinds = metadata.numbers(key, at_least=count)[:count]
    return [int(kind) for kind in kinds] if isinstance(kinds[0], float) else kinds


def _pre_tokenizer(metadata: GGUFMetadata) -> str:
    return metadata.text(PREFIX + "pre", "") or "default"


def _warn_of_words(metadata: GGUFMetadata) -> None:
    """Warn if a byte-level vocabulary does not say how texts are cut into words."""
    if metadata.text(PREFIX + "model", "") == "gpt2" and not metadata.content.get(PREFIX + "pre"):
        warnings.warn(
            f"{metadata.path}: {PREFIX}pre is missing: words are cut by llama.cpp's default, which gives most models "
            "wrong tokens; convert the model again",
            stacklevel=4,
        )


def _stripping(metadata: GGUFMetadata, tokens: Sequence[str]) -> frozenset[str]:
    """Return the special tokens that absorb white space after them, which a file cannot say: those of Phi-3.

    As in llama.cpp, the name of the model tells.
    """
    name = metadata.text("general.name", "").lower()
    return frozenset(tokens).difference(_NOT_STRIPPED) if any(part in name for part in PHI3_NAMES) else frozenset()


def _added(metadata: GGUFMetadata, role: str, ids: Mapping[str, int | None]) -> list[int]:
    """Return BOS or the end-of-sequence token if the file puts it around each text."""
    key, token_id = f"{PREFIX}add_{role}_token", ids[f"{role}_token"]
    adds = metadata.flag(key, role == "bos" and _adds_bos_by_default(metadata))
    if adds and token_id is None and metadata.has(key):
        warnings.warn(f"{metadata.path}: {key} is true, but there is no such token; none is added", stacklevel=4)
    return [token_id] if adds and token_id is not None else []


def _adds_bos_by_default(metadata: GGUFMetadata) -> bool:
    """Return the default for a file without the key: SentencePiece begins with BOS, as do some byte-level ones."""
    if metadata.text(PREFIX + "model") == "llama":
        return True
    return find_rules(_pre_tokenizer(metadata)).adds_bos


def _chat_templates(metadata: GGUFMetadata) -> tuple[str | None, dict[str, str]]:
    """Return the chat template, and those for other uses by name."""
    stem = "tokenizer.chat_template"
    names = [key.removeprefix(f"{stem}.") for key in metadata.content if key.startswith(f"{stem}.")]
    named = {name: metadata.text(f"{stem}.{name}") for name in names}
    default = metadata.text(stem) if metadata.has(stem) else named.pop("default", None)
    return default, named
