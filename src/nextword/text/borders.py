"""`cut_at_borders`: cut a text of any length into parts that are encoded alone as they are in the whole.

Where a place is no border, another is tried; where none is found, the part grows. It knows no tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from nextword.errors import TokenizerError

PART_LENGTH = 1 << 16
"""Characters of a part, unless it has to grow."""
_LONGEST = 1 << 22
"""Characters of the longest part: within the limits and the memory of the `tokenizers` library."""
_MAX_TRIALS = 32
_WORD_END = re.compile(r"(?<=\S)(?=\s\S)")
_CHANGE = re.compile(
    r"(?<=\w)(?=[^\w\s])|(?<=[^\w\s])(?=\w)|(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)|(?<=\S)(?=\s)|(?<=\s)(?=\S)"
)
"""Between letters, digits, signs and spaces."""

IsBorder = Callable[[str, int], bool]
"""Says of an index in a text if the text is encoded there apart as together."""


def cut_at_borders(pieces: Iterable[str], is_border: IsBorder) -> Iterator[str]:
    """Yield a text that comes in pieces in parts that are encoded as a beginning and its continuations.

    An empty text is one empty part. Raises TokenizerError where characters without a border are too many.
    """
    text, first, num_cut = "", PART_LENGTH // 2, 0
    for part in short_parts(pieces):
        text += part
        while len(text) >= first + PART_LENGTH:
            border = _find_border(text, first, is_border)
            if border is None:
                first += PART_LENGTH // 2
                _check_length(first, num_cut)
                continue
            yield text[:border]
            text, first, num_cut = text[border:], PART_LENGTH // 2, num_cut + border
    if text or not num_cut:
        yield text


def short_parts(pieces: Iterable[str]) -> Iterator[str]:
    """Cut the pieces into parts of at most 2**16 characters."""
    return (piece[start : start + PART_LENGTH] for piece in pieces for start in range(0, len(piece), PART_LENGTH))


def _find_border(text: str, first: int, is_border: IsBorder) -> int | None:
    """Return the last border found in half a part from `first` on: between words, else between kinds of characters."""
    for pattern in (_WORD_END, _CHANGE):
        places = [match.start() for match in pattern.finditer(text, first, first + PART_LENGTH // 2)]
        found = next((place for place in reversed(places[-_MAX_TRIALS:]) if is_border(text, place)), None)
        if found is not None:
            return found
    return None


def _check_length(length: int, start: int) -> None:
    if length > _LONGEST:
        raise TokenizerError(
            f"the text has more than {_LONGEST:,} characters, from number {start:,} on, without a border between words"
            " where this tokenizer could work on it in parts: put a line end or a space into them"
        )
