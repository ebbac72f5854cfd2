"""`split_text`: a text in, pieces that fit a model out. `SENTENCE_END` matches up to the end of a sentence.

Boundaries are found by punctuation and white space alone, in any language. Joined, the pieces are the text.
"""

from __future__ import annotations

import re

from nextword.text.tokenizer import Tokenizer

SENTENCE_END = re.compile(
    r"""(?<!\b[A-Z]) (?<!\b(?:Mr|Ms|Dr|St)) (?<!\bMrs)  # an initial or a title goes on
        (?<!^\d) (?<!^\d\d)                             # so does the number of a list's item
        [.!?]+ ["'”’)\]]* (?=\s+[^\sa-z])
      | [。！？]+ [」』”’）]*""",
    re.VERBOSE | re.MULTILINE,
)
"""Matches up to the end of a sentence that another one follows."""
_BOUNDARIES = (re.compile(r"\n\s*\n"), SENTENCE_END, re.compile(r"\S+"))
"""Ends of paragraphs, sentences and words, in order of preference."""


def split_text(tokenizer: Tokenizer, text: str, *, max_tokens: int) -> list[str]:
    """Cut a text into pieces of at most `max_tokens` tokens, filled from the left.

    Cut after paragraphs where possible, else after sentences, else after words, else between characters. A character
    that has more tokens than that is a piece of its own.
    """
    if len(text) < 2 or num_tokens(tokenizer, text) <= max_tokens:
        return [text]
    pieces = next((pieces for boundary in _BOUNDARIES if len(pieces := _cut(text, boundary)) > 1), [text])
    groups = _filled(tokenizer, pieces, max_tokens)
    if len(groups) == 1:  # no boundary, or the whole has more tokens than its pieces have together
        half = len(text) // 2
        groups = [text[:half], text[half:]]
    return [piece for group in groups for piece in split_text(tokenizer, group, max_tokens=max_tokens)]


def num_tokens(tokenizer: Tokenizer, text: str) -> int:
    """Return the number of tokens of a text in the middle of a prompt."""
    return len(tokenizer.encode(text, add_special_tokens=False))


def _cut(text: str, boundary: re.Pattern[str]) -> list[str]:
    """Cut a text after each match."""
    ends = [match.end() for match in boundary.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if end > start]


def _filled(tokenizer: Tokenizer, pieces: list[str], max_tokens: int) -> list[str]:
    """Join neighbours while the sum of their tokens fits; a piece that is too long alone stays alone."""
    groups = [pieces[0]]
    used = num_tokens(tokenizer, pieces[0])
    for piece in pieces[1:]:
        more = num_tokens(tokenizer, piece)
        if used + more <= max_tokens:
            groups[-1] += piece
            used += more
        else:
            groups.append(piece)
            used = more
    return groups
