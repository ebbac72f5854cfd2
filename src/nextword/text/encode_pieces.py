"""`encode_pieces`: token ids of a text that is never in memory whole.

A text is only cut where the tokens on both sides are those of the uncut text, which is tried on the characters around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nextword.text.tokenizer import Tokenizer

_PIECE = 1 << 16
"""Characters that are encoded at once."""
_AROUND = 128
"""Characters on each side of a cut that decide whether it changes tokens: more than any token has, with its word."""
_MOST_TRIALS = 32
_WORD_END = re.compile(r"(?<=\S)\s(?=\S)")


def encode_pieces(
    tokenizer: Tokenizer, pieces: Iterable[str], *, add_special_tokens: bool = True
) -> Iterator[list[int]]:
    """Token ids of the joined pieces, as `encode` gives them, some at a time."""
    text, is_first = "", True
    for part in short_parts(pieces):
        text += part
        while len(text) > _PIECE + _AROUND:
            end, start = _find_cut(tokenizer, text)
            yield _encode(tokenizer, text[:end], is_first, add_special_tokens)
            text, is_first = text[start:], False
    if text or is_first:
        yield _encode(tokenizer, text, is_first, add_special_tokens)


def short_parts(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in parts that are cheap to move, however long a piece is."""
    return (piece[start : start + _PIECE] for piece in pieces for start in range(0, len(piece), _PIECE))


def _encode(tokenizer: Tokenizer, text: str, is_first: bool, add_special_tokens: bool) -> list[int]:
    if is_first:
        return tokenizer.encode(text, add_special_tokens=add_special_tokens)
    return tokenizer.encode_continuation(text)


def _find_cut(tokenizer: Tokenizer, text: str) -> tuple[int, int]:
    """Where a piece of the text ends, and where the next one starts: behind a space that the next one gets anyway."""
    ends = [match.start() for match in _WORD_END.finditer(text, _PIECE // 2, _PIECE)] or range(_PIECE // 2, _PIECE)
    for end in reversed(ends[-_MOST_TRIALS:]):
        before, after = text[end - _AROUND : end], text[end : end + _AROUND]
        uncut = tokenizer.encode_continuation(before + after)
        for start in (end, end + 1) if after[0] == " " else (end,):
            right = tokenizer.encode_continuation(after[start - end :])
            if tokenizer.encode_continuation(before) + right == uncut:
                return end, start
    return ends[-1], ends[-1]
