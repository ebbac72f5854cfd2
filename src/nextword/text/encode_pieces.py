"""`encode_pieces`: encode a text of any length in bounded memory.

The text is cut only where both sides have the tokens of the uncut text; this is checked on the characters around a cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nextword.text.tokenizer import Tokenizer

_PIECE = 1 << 16
"""Characters encoded at once."""
_AROUND = 128
"""Characters on each side of a cut that are encoded to see if it changes tokens: more than a token with its word."""
_MAX_TRIALS = 32
_WORD_END = re.compile(r"(?<=\S)\s(?=\S)")


def encode_pieces(
    tokenizer: Tokenizer, pieces: Iterable[str], *, add_special_tokens: bool = True
) -> Iterator[list[int]]:
    """Yield the token ids of the joined pieces, a part at a time: together those of `Tokenizer.encode_prompt`."""
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
    """Cut the pieces into parts of at most 2**16 characters."""
    return (piece[start : start + _PIECE] for piece in pieces for start in range(0, len(piece), _PIECE))


def _encode(tokenizer: Tokenizer, text: str, is_first: bool, add_special_tokens: bool) -> list[int]:
    if is_first:
        return tokenizer.encode_prompt(text) if add_special_tokens else tokenizer.encode(text, add_special_tokens=False)
    return tokenizer.encode_continuation(text)


def _find_cut(tokenizer: Tokenizer, text: str) -> tuple[int, int]:
    """Return the end of the next part and the start of the one after: behind a space that the tokenizer would add."""
    ends = [match.start() for match in _WORD_END.finditer(text, _PIECE // 2, _PIECE)] or range(_PIECE // 2, _PIECE)
    for end in reversed(ends[-_MAX_TRIALS:]):
        before, after = text[end - _AROUND : end], text[end : end + _AROUND]
        uncut = tokenizer.encode_continuation(before + after)
        for start in (end, end + 1) if after[0] == " " else (end,):
            right = tokenizer.encode_continuation(after[start - end :])
            if tokenizer.encode_continuation(before) + right == uncut:
                return end, start
    return ends[-1], ends[-1]
