"""The words that ROUGE compares: stemmed English ones, as in most papers, or words of any script.

rouge-score's own tokenizer knows the letters a to z alone, so a text in Greek or Chinese has no words and every score
is 0, and "für" is two of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

Words = Literal["english", "unicode"]
"""Rule for splitting texts: rouge-score's words of a to z and digits, with Porter's stems; or words of any script."""

WORDS_IN_FULL: dict[Words, str] = {
    "english": "English words, stemmed",
    "unicode": "words of any script, not stemmed; characters where the script has no spaces",
}
"""Splittings in words for people."""

_FOREIGN_SHARE = 0.03
"""Share of words with letters beyond a to z above which texts are not English: Italian has 5 %, German 8 %."""
_UNSPACED = re.compile(
    "["
    "\u0e01-\u0eff"  # Thai, Lao
    "\u1000-\u109f\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana and marks of Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Han
    "]"
)
"""Characters of scripts that are written without spaces between words."""


def words_of(references: Iterable[str]) -> Words:
    """Return the splitting that suits references: "unicode" if over 3 % of their words have letters beyond a to z."""
    words = [word for reference in references for word in UnicodeWords().tokenize(reference)]
    return "unicode" if sum(not word.isascii() for word in words) > _FOREIGN_SHARE * len(words) else "english"


class UnicodeWords:
    """Splits a text into words of any script, for rouge-score: `tokenize`."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, case folded and NFKC-normalised.

        A word is a run of letters, marks and digits. A character with its marks is one where the script has no spaces,
        as in the multilingual summarisation literature for Chinese and Japanese.
        """
        words: list[str] = []
        before = ""  # what the last character was: part of a word, a word by itself, or neither
        for character in unicodedata.normalize("NFKC", text).casefold():
            kind = _kind(character)
            if kind == "mark":
                words[-1:] = [words[-1] + character] if before else words[-1:]
                continue
            if kind == "letter" and before == "letter":
                words[-1] += character
            elif kind:
                words.append(character)
            before = kind
        return words


def _kind(character: str) -> str:
    """Return "letter" (digits, too), "mark", "word" if the character is one by itself, else ""."""
    category = unicodedata.category(character)[0]
    if category in "LN":
        return "word" if _UNSPACED.match(character) else "letter"
    return "mark" if category == "M" else ""
