"""`vocabulary_metadata`: describe a byte-level BPE tokenizer as GGUF metadata, the inverse of `tokenizer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.checkpoints.gguf.end_tokens import end_token_ids
from nextword.checkpoints.gguf.vocabulary import TokenKind
from nextword.errors import CheckpointError
from nextword.text.pre_tokenizers import find_name
from nextword.text.tokenizer import Tokenizer

_PREFIX = "tokenizer.ggml."
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def vocabulary_metadata(tokenizer: Tokenizer, *, num_rows: int) -> dict[str, object]:
    """Return the metadata by key; the list of tokens has `num_rows` items, one for each row of the embedding.

    Raises CheckpointError if the tokenizer is not byte-level BPE, has no merges, has more tokens than the model, or has
    a pre-tokenizer or normalizer that GGUF cannot name.
    """
    definition = tokenizer.definition()
    model = definition["model"]
    if model["type"] != "BPE" or not _is_byte_level(definition):
        raise CheckpointError(
            f"the tokenizer ({model['type']}) is not byte-level BPE, the only kind that is written to GGUF; "
            "export --to hf instead"
        )
    if definition["normalizer"] not in (None, {"type": "NFC"}):
        raise CheckpointError("the tokenizer has a normalizer that GGUF cannot express; export --to hf instead")
    name = find_name(definition["pre_tokenizer"], ignores_merges=bool(model.get("ignore_merges")))
    if name is None:
        raise CheckpointError("GGUF has no name for the tokenizer's pre-tokenizer; export --to hf instead")
    tokens, kinds = _tokens(definition, num_rows)
    metadata: dict[str, object] = {
        _PREFIX + "model": "gpt2",
        _PREFIX + "pre": name,
        _PREFIX + "tokens": tokens,
        _PREFIX + "token_type": kinds,
        _PREFIX + "merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]],
        **_around(tokenizer),
        _PREFIX + "add_space_prefix": False,
        **_special_ids(tokenizer, tokens),
    }
    if tokenizer.chat_template is not None:
        metadata["tokenizer.chat_template"] = tokenizer.chat_template
    metadata |= {f"tokenizer.chat_template.{name}": text for name, text in tokenizer.named_templates.items()}
    if not model["merges"]:  # an array of GGUF has the type of its first item
        raise CheckpointError("the tokenizer has no merges, which BPE in GGUF requires; export --to hf instead")
    return metadata


def _is_byte_level(definition: Mapping[str, Any]) -> bool:
    decoder = definition["decoder"]
    return decoder is not None and decoder["type"] == "ByteLevel"


def _tokens(definition: Mapping[str, Any], num_rows: int) -> tuple[list[str], list[int]]:
    """Return all tokens by id, with their kinds; rows without a token get a name that occurs in no text."""
    by_id = {token_id: (token, TokenKind.NORMAL) for token, token_id in definition["model"]["vocab"].items()}
    for added in definition["added_tokens"]:
        kind = TokenKind.CONTROL if added["special"] else TokenKind.USER_DEFINED
        by_id[added["id"]] = (added["content"], kind)
    if max(by_id) >= num_rows:
        raise CheckpointError(f"the tokenizer has {max(by_id) + 1} tokens, the model {num_rows}: they do not fit")
    pairs = [by_id.get(token_id, (f"[PAD{token_id}]", TokenKind.UNUSED)) for token_id in range(num_rows)]
    return [token for token, _ in pairs], [int(kind) for _, kind in pairs]


def _around(tokenizer: Tokenizer) -> dict[str, object]:
    """Return the flags for the tokens around each text, of which GGUF has two: BOS before, end of sequence after."""
    prefix, suffix = tokenizer.prefix_token_ids, tokenizer.suffix_token_ids
    bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    if prefix not in ((), bos) or suffix not in ((), tokenizer.eos_token_ids[:1]):
        raise CheckpointError(
            f"the tokenizer puts the tokens {list(prefix)} before a text and {list(suffix)} after it; GGUF can only put"
            " BOS and the end-of-sequence token there; export --to hf instead"
        )
    return {_PREFIX + "add_bos_token": bool(prefix), **({_PREFIX + "add_eos_token": True} if suffix else {})}


def _special_ids(tokenizer: Tokenizer, tokens: list[str]) -> dict[str, object]:
    ends = tokenizer.turn_end_ids()
    known = set(end_token_ids(tokens, ()))  # a reader finds them by their texts
    needed = [*ends[:1], *(token_id for token_id in ends[1:] if token_id not in known)]
    if len(needed) > len(_END_KEYS):
        raise CheckpointError(
            f"{len(needed)} tokens end a text or a turn, and GGUF has keys for {len(_END_KEYS)}: export --to hf instead"
        )
    named = dict.fromkeys([*needed, *ends])
    ids: dict[str, object] = dict(zip(_END_KEYS, named, strict=False))
    if tokenizer.bos_token_id is not None:
        ids["bos_token_id"] = tokenizer.bos_token_id
    for variable, key in (("unk_token", "unknown_token_id"), ("pad_token", "padding_token_id")):
        if tokenizer.special_variables.get(variable) in tokens:
            ids[key] = tokens.index(tokenizer.special_variables[variable])
    return {_PREFIX + key: value for key, value in ids.items()}
