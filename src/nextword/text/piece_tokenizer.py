"""Tokenizers of pieces of text, as SentencePiece makes them: what stands around their model, and ranked merges.

Vocabularies of GGUF files and of `tokenizer.model` are built here.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Character that stands for a space in the pieces."""
Pair = tuple[str, str]

Prefix = Literal["never", "every text", "unless spaced", "first unless spaced"]
"""Which texts get a space before them: all of them, those that begin with none, or only the first of those.

A text between two added tokens is one of its own. With the space a word at the beginning is the word it is elsewhere.
"""
_SCHEMES = {"unless spaced": "always", "first unless spaced": "first"}


class TokenKind(enum.IntEnum):
    """Kind of a token, numbered as in SentencePiece and in GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def build_pieces(
    model: models.BPE | models.Unigram,
    *,
    prefix: Prefix,
    has_bytes: bool,
    cleaning: Sequence[normalizers.Normalizer] = (),
    words: Sequence[pre_tokenizers.PreTokenizer] = (),
) -> tokenizers.Tokenizer:
    """Build the tokenizer of a model of pieces.

    `has_bytes`: tokens such as <0xE2> stand for bytes. `cleaning`: steps before spaces are replaced.
    `words`: cuts after that.
    """
    backend = tokenizers.Tokenizer(model)
    steps = list(cleaning)
    cuts = list(words)
    if prefix in _SCHEMES:
        cuts.insert(0, pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=_SCHEMES[prefix], split=False))
    else:
        steps += [normalizers.Prepend(SPACE)] if prefix == "every text" else []
        steps.append(normalizers.Replace(" ", SPACE))
    if steps:
        backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
    if cuts:
        backend.pre_tokenizer = cuts[0] if len(cuts) == 1 else pre_tokenizers.Sequence(cuts)
    bytes_to_text = [decoders.ByteFallback()] if has_bytes else []
    without_prefix = [] if prefix == "never" else [decoders.Strip(content=" ", left=1)]
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), *bytes_to_text, decoders.Fuse(), *without_prefix]
    )
    return backend


def ranked_merges(ranks: Mapping[str, tuple[float, ...]]) -> list[Pair]:
    """Return the pairs of tokens that form a token, lowest rank first; of those of one token, shortest left part first.

    The order of transformers' conversion of SentencePiece vocabularies.
    """
    merges = [
        (rank, cut, token[:cut], token[cut:])
        for token, rank in ranks.items()
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    merges.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in merges]
