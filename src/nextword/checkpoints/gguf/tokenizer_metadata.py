"""`tokenizer_metadata`: describe a tokenizer as GGUF metadata, the inverse of `tokenizer`.

It writes what it finds words for. Whether they say all is decided by reading the metadata back: see `tokenizer_rules`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextword.checkpoints.gguf.end_tokens import end_token_ids
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.piece_scores import scores_of_merges
from nextword.checkpoints.gguf.special_ids import END_KEYS, PREFIX, ROLES
from nextword.checkpoints.gguf.tokenizer import PHI3_NAMES, build_gguf_tokenizer
from nextword.checkpoints.gguf.tokenizer_rules import merges_of, require_same_tokenizer, steps_of
from nextword.errors import CheckpointError
from nextword.text.piece_tokenizer import TokenKind
from nextword.text.pre_tokenizers import find_name
from nextword.text.token_bytes import is_byte_token
from nextword.text.tokenizer import Tokenizer

_TEMPLATE = "tokenizer.chat_template"


def tokenizer_metadata(tokenizer: Tokenizer, settings: Mapping[str, object], *, num_rows: int) -> dict[str, object]:
    """Return the metadata by key; the list of tokens has `num_rows` items, one for each row of the embedding.

    `settings`: the rest of the file's metadata, such as its architecture and name, which also say something about
    tokens. Raises CheckpointError, naming what differs, if the file would be read as another tokenizer.
    """
    definition = tokenizer.definition()
    kind, content = _model(definition)
    tokens, kinds = _tokens(tokenizer, definition, num_rows)
    metadata: dict[str, object] = {
        PREFIX + "model": kind,
        PREFIX + "tokens": tokens,
        PREFIX + "token_type": kinds,
        **content,
        **_special_ids(tokenizer, tokens),
        **_templates(tokenizer),
    }
    if kind == "llama":
        metadata[PREFIX + "scores"] = scores_of_merges(tokens, merges_of(definition))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of reading: what matters is compared
        read_back = build_gguf_tokenizer(GGUFMetadata({**settings, **metadata}, Path("the file to be written")))
    require_same_tokenizer(tokenizer, read_back)
    return metadata


def model_name(tokenizer: Tokenizer, stem: str) -> str:
    """Return a name for a model: the stem of its file, unless that says something else of its special tokens.

    A name with "phi-3" means that they absorb the white space after them.
    """
    strips = any(token["rstrip"] for token in tokenizer.definition()["added_tokens"])
    if strips == any(part in stem.lower() for part in PHI3_NAMES):
        return stem
    return f"Phi-3 {stem}" if strips else "model"


def _model(definition: Mapping[str, Any]) -> tuple[str, dict[str, object]]:
    """Return the kind of vocabulary in GGUF, and the settings that only this kind has."""
    model, decoder = definition["model"], definition["decoder"] or {"type": "None"}
    if model["type"] == "BPE" and decoder["type"] == "ByteLevel":
        merges = [" ".join(pair) for pair in merges_of(definition)]
        if not merges:  # an array of GGUF has the type of its first item
            raise CheckpointError("the tokenizer has no merges, which BPE in GGUF requires; export --to hf instead")
        name = find_name(
            definition["pre_tokenizer"],
            ignores_merges=bool(model.get("ignore_merges")),
            is_nfc={"type": "NFC"} in steps_of(definition["normalizer"], "normalizers"),
        )
        if name is None:
            raise CheckpointError("GGUF has no name for the tokenizer's pre-tokenizer; export --to hf instead")
        return "gpt2", {PREFIX + "pre": name, PREFIX + "merges": merges}
    if model["type"] == "BPE" and model["byte_fallback"]:
        return "llama", {PREFIX + "pre": "default", PREFIX + "add_space_prefix": _adds_space(definition)}
    raise CheckpointError(
        f"the tokenizer ({model['type']}, decoded by {decoder['type']}) is neither byte-level BPE nor BPE of pieces "
        "and bytes, the kinds that are written to GGUF; export --to hf instead"
    )


def _adds_space(definition: Mapping[str, Any]) -> bool:
    """Return True if a normalizer or pre-tokenizer puts a space before a text."""
    steps = [
        *steps_of(definition["normalizer"], "normalizers"),
        *steps_of(definition["pre_tokenizer"], "pretokenizers"),
    ]
    return any(step["type"] == "Prepend" or step.get("prepend_scheme") in ("first", "always") for step in steps)


def _tokens(tokenizer: Tokenizer, definition: Mapping[str, Any], num_rows: int) -> tuple[list[str], list[int]]:
    """Return all tokens by id, with their kinds; rows without a token get a name that occurs in no text."""
    is_pieces = definition["model"]["byte_fallback"]
    by_id = {
        token_id: (token, TokenKind.BYTE if is_pieces and is_byte_token(token) else TokenKind.NORMAL)
        for token, token_id in definition["model"]["vocab"].items()
    }
    unknown = definition["model"]["unk_token"]
    for added in definition["added_tokens"]:
        kind = TokenKind.CONTROL if added["special"] else TokenKind.USER_DEFINED
        by_id[added["id"]] = (added["content"], TokenKind.UNKNOWN if added["content"] == unknown else kind)
    for token_id, token in tokenizer.other_tokens.items():
        unused = by_id.get(token_id, (f"[PAD{token_id}]",))[0]
        by_id[token_id] = (token, TokenKind.NORMAL) if token else (unused, TokenKind.UNUSED)
    if max(by_id) >= num_rows:
        raise CheckpointError(f"the tokenizer has {max(by_id) + 1} tokens, the model {num_rows}: they do not fit")
    pairs = [by_id.get(token_id, (f"[PAD{token_id}]", TokenKind.UNUSED)) for token_id in range(num_rows)]
    return [token for token, _ in pairs], [int(kind) for _, kind in pairs]


def _special_ids(tokenizer: Tokenizer, tokens: list[str]) -> dict[str, object]:
    """Return the ids of special tokens, and whether BOS and the end-of-sequence token stand around each text."""
    ids: dict[str, object] = {}
    for role, key in ROLES.items():
        token = tokenizer.special_variables.get(role)
        if token in tokens:
            ids[PREFIX + key] = tokens.index(token)
    ends = tokenizer.turn_end_ids()
    known = set(end_token_ids(tokens, ()))  # a reader finds them by their texts
    needed = [*ends[:1], *(token_id for token_id in ends[1:] if token_id not in known)]
    if tokenizer.bos_token_id is not None:
        ids[f"{PREFIX}bos_token_id"] = tokenizer.bos_token_id
    ids |= {PREFIX + key: token_id for key, token_id in zip(END_KEYS, dict.fromkeys([*needed, *ends]), strict=False)}
    return {
        **ids,
        f"{PREFIX}add_bos_token": bool(tokenizer.prefix_token_ids),
        f"{PREFIX}add_eos_token": bool(tokenizer.suffix_token_ids),
    }


def _templates(tokenizer: Tokenizer) -> dict[str, object]:
    templates: dict[str, object] = {f"{_TEMPLATE}.{name}": text for name, text in tokenizer.named_templates.items()}
    if templates:
        templates["tokenizer.chat_templates"] = list(tokenizer.named_templates)
    if tokenizer.chat_template is not None:
        templates[_TEMPLATE] = tokenizer.chat_template
    return templates
