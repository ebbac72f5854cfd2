"""`require_same_tokenizer`: hold a tokenizer that was read back to the one that was written, rule by rule.

Rules are compared by what they do: several forms of tokenizer.json say the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from nextword.checkpoints.gguf.piece_scores import are_same_merges
from nextword.errors import CheckpointError
from nextword.text.pre_tokenizers import find_patterns
from nextword.text.same_tokenizer import tokens_by_id
from nextword.text.tokenizer import Tokenizer

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_NFC = {"type": "NFC"}
_PIECE_DECODERS = ("Replace", "ByteFallback", "Fuse", "Strip", "Metaspace")


def require_same_tokenizer(own: Tokenizer, other: Tokenizer) -> None:
    """Raise CheckpointError, naming the rule, if two tokenizers give other tokens, texts, chats or ends of them."""
    definition, read_back = own.definition(), other.definition()
    found = _rules(other, read_back)
    for name, value in _rules(own, definition).items():
        if value != found[name]:
            _refuse(name, value, found[name])
    if own.bos_token_id not in (None, other.bos_token_id):
        _refuse("BOS token", own.bos_token_id, other.bos_token_id)
    if not _have_same_merges(definition, read_back):
        raise CheckpointError(
            "GGUF cannot express the tokenizer's merges: by the scores of tokens other pairs would be joined; "
            "export --to hf instead"
        )
    ends, found_ends = own.turn_end_ids(), other.turn_end_ids()
    if not set(ends) <= set(found_ends):
        _refuse("ends of texts and turns", ends, found_ends)
    for role, token in own.special_variables.items():
        if role in str(own.chat_template) and other.special_variables.get(role) != token:
            _refuse(f"{role} of the chat template", token, other.special_variables.get(role))
    _warn_of_llama_cpp(definition)


def _refuse(name: str, own: object, other: object) -> None:
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        key = next(key for key in (*own, *other) if own.get(key) != other.get(key))
        own, other = ({key: rules[key]} if key in rules else None for rules in (own, other))
    shown = [repr(value) if len(repr(value)) <= 120 else repr(value)[:117] + "..." for value in (own, other)]
    raise CheckpointError(
        f"GGUF cannot express the tokenizer's {name}: {shown[0]} would be read as {shown[1]}; export --to hf instead"
    )


def _rules(tokenizer: Tokenizer, definition: Mapping[str, Any]) -> dict[str, object]:
    """Return what a tokenizer does, rule by rule, in one form."""
    model, normalizer = definition["model"], steps_of(definition["normalizer"], "normalizers")
    rules: dict[str, object] = {}
    if _is_byte_level(definition):
        rules["normalizer"] = normalizer
        rules["pre-tokenizer"] = find_patterns(definition["pre_tokenizer"])
    else:
        rules["normalizer and pre-tokenizer"] = _spaces(definition)
        rules["decoder"] = _decoding(definition)
        rules["way with unknown characters"] = (model["unk_token"], model["fuse_unk"]) if _lacks_bytes(model) else None
    special, found = _added_tokens(definition["added_tokens"], is_normalized=normalizer not in ([], [_NFC]))
    return {
        **rules,
        "settings of BPE": {name: model[name] or None for name in _SETTINGS},
        "special tokens": special,
        "added tokens": found,
        "vocabulary": tokens_by_id(definition, tokenizer.other_tokens),
        "tokens before a text": tokenizer.prefix_token_ids,
        "tokens after a text": tokenizer.suffix_token_ids,
        "chat template": tokenizer.chat_template,
        "named chat templates": tokenizer.named_templates,
    }


_SETTINGS = ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")


def _is_byte_level(definition: Mapping[str, Any]) -> bool:
    decoder = definition["decoder"]
    return decoder is not None and decoder["type"] == "ByteLevel"


def steps_of(definition: Mapping[str, Any] | None, name: str) -> list[Any]:
    """Return a step of a tokenizer.json, or the steps of a sequence, in order; `name`: its list of steps."""
    if definition is None:
        return []
    return (
        [step for inner in definition[name] for step in steps_of(inner, name)] if name in definition else [definition]
    )


def _spaces(definition: Mapping[str, Any]) -> object:
    """Return True or False for vocabularies of pieces that get a space before a text or not; else all steps.

    A space that not every text gets counts, too: `_warn_of_llama_cpp` says so.
    """
    normalizers = steps_of(definition["normalizer"], "normalizers")
    words = steps_of(definition["pre_tokenizer"], "pretokenizers")
    replaced = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    if replaced in normalizers:  # then no space is left to split at
        words = [step for step in words if step["type"] != "Split" or step["pattern"] != {"String": " "}]
    match [*normalizers, *words]:
        case [{"type": "Prepend", "prepend": "\N{LOWER ONE EIGHTH BLOCK}"}, replace] if replace == replaced:
            return True
        case [replace] if replace == replaced:
            return False
        case [{"type": "Metaspace", "replacement": "\N{LOWER ONE EIGHTH BLOCK}", "split": False, **more}]:
            return more["prepend_scheme"] != "never"
        case steps:
            return steps


def _warn_of_llama_cpp(definition: Mapping[str, Any]) -> None:
    """Warn of what a file says only to those who know the model, or not quite."""
    if any(step["type"] == "Metaspace" for step in steps_of(definition["pre_tokenizer"], "pretokenizers")):
        warnings.warn(
            "the tokenizer puts a space before a text that begins with none, GGUF before every text and after each "
            "special token: chats, and texts that begin with a space, can get other tokens",
            stacklevel=5,
        )
    if _NFC in steps_of(definition["normalizer"], "normalizers"):
        warnings.warn(
            "llama.cpp does not bring texts into NFC, as the tokenizer does: others get other tokens there",
            stacklevel=5,
        )


def _decoding(definition: Mapping[str, Any]) -> object:
    """Return True or False for pieces from whose text a first space is removed or not; else all steps."""
    steps = steps_of(definition["decoder"], "decoders")
    if not all(step["type"] in _PIECE_DECODERS for step in steps):
        return steps
    return any(step["type"] == "Strip" or step.get("prepend_scheme", "never") != "never" for step in steps)


def _lacks_bytes(model: Mapping[str, Any]) -> bool:
    return not all(f"<0x{byte:02X}>" in model["vocab"] for byte in range(256))


def _added_tokens(
    added: Sequence[Mapping[str, Any]], *, is_normalized: bool
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the properties of special tokens, and of others that are found as written, by token.

    Those made of spaces are never found: spaces are replaced before. Matching after the normalizer is a property only
    if there is one that changes letters.
    """
    names = ["lstrip", "rstrip", "single_word", *(["normalized"] if is_normalized else [])]
    found = {
        token["content"]: (token["special"], [name for name in names if token[name]])
        for token in added
        if token["content"].strip(_SPACE)
    }
    return tuple(  # type: ignore[return-value]
        {token: properties for token, (is_special, properties) in sorted(found.items()) if is_special == wanted}
        for wanted in (True, False)
    )


def _have_same_merges(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    merges, read_back = merges_of(own), merges_of(other)
    if _is_byte_level(own):
        return merges == read_back
    # Merges never form the tokens that are found as written before them.
    found = {token["content"] for token in own["added_tokens"]} - {left + right for left, right in merges}
    return are_same_merges(merges, [(left, right) for left, right in read_back if left + right not in found])


def merges_of(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the merges of a tokenizer.json, which has them as texts or as pairs."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in definition["model"]["merges"])
    return [(left, right) for left, right in pairs]
