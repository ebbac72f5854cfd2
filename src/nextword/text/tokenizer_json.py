"""`read_tokenizer_json`: open a tokenizer.json that comes with a checkpoint and is not trusted.

What would make encoding random, cut prompts or fill them up is taken out: it belongs to training. What would let a
short text grow without bound is refused.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import tokenizers

from nextword.errors import CheckpointError, TokenizerError
from nextword.input_file import read_bounded
from nextword.text.foreign_errors import translated

_LARGEST_BYTES = 200_000_000
"""Limit far above the largest published file."""
_LARGEST_GROWTH = 4096
"""Most characters that the steps of a part may make of one, if each makes its most: far above any published file."""
_LONGEST_AFFIX = 256
"""Most characters that stand before or after each piece of a word in the vocabulary, such as "##"."""


def read_tokenizer_json(path: Path) -> tokenizers.Tokenizer:
    """Read a tokenizer. Raises CheckpointError naming the file if it is damaged, too large or grows texts."""
    content = read_bounded(path, most=_LARGEST_BYTES, kind="tokenizer.json")
    try:
        with translated("not a tokenizer"):
            backend = tokenizers.Tokenizer.from_buffer(content)
        for field in ("normalizer", "decoder"):
            _check_growth(field, getattr(backend, field))
        for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
            _check_affix(affix, getattr(backend.model, affix, None))
    except TokenizerError as error:
        raise CheckpointError(f"{path}: {error}") from None
    _warn_of_other_ids(path, content, backend)
    backend.no_truncation()  # left over from training in some files; would silently truncate prompts
    backend.no_padding()
    if isinstance(backend.model, tokenizers.models.BPE):
        backend.model.dropout = None  # would leave out merges at random
    return backend


def _warn_of_other_ids(path: Path, content: bytes, backend: tokenizers.Tokenizer) -> None:
    """Warn if the library gives an added token another id than the file says, which it does without a word."""
    start = content.find(b"[", content.find(b'"added_tokens"'))
    try:
        listed, _ = json.JSONDecoder().raw_decode(content[start:].decode())
        others = [
            token for token in listed if token["content"] and backend.token_to_id(token["content"]) != token["id"]
        ]
    except (ValueError, TypeError, KeyError):  # the name stands elsewhere first: there is nothing to compare with
        return
    if others:
        text, listed_id = others[0]["content"], others[0]["id"]
        warnings.warn(
            f"{path}: added_tokens gives {text!r} the id {listed_id}; it is {backend.token_to_id(text)}, as in"
            " transformers, since ids of added tokens follow the vocabulary's",
            stacklevel=4,
        )


def _check_growth(field: str, part: Any) -> None:
    """Raise TokenizerError if the steps of a part can make much text of little: the factors of steps multiply."""
    if part is None:
        return
    growth = _growth(json.loads(part.__getstate__()))
    if growth > _LARGEST_GROWTH:
        raise TokenizerError(f"{field}: makes up to {growth} characters of one; at most {_LARGEST_GROWTH} are allowed")


def _check_affix(field: str, affix: str | None) -> None:
    if affix is not None and len(affix) > _LONGEST_AFFIX:
        raise TokenizerError(f"model: {field} has {len(affix)} characters; at most {_LONGEST_AFFIX} are allowed")


def _growth(step: dict[str, Any]) -> int:
    """Return how many characters a step can make of one, at most."""
    inner = step.get("normalizers", step.get("decoders"))
    if inner is not None:
        product = 1
        for one in inner:
            product *= _growth(one)
        return product
    if step["type"] == "Prepend":
        return 1 + len(step["prepend"])
    if step["type"] != "Replace" or not step["content"]:
        return 1
    replaced = len(step["pattern"].get("String", ""))  # a regular expression may match between characters
    return -(-len(step["content"]) // replaced) if replaced else 1 + len(step["content"])
