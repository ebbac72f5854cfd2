"""Names and numbers that a sentence has and the text it is about has not: the invention that can be seen by reading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
_TOKEN = re.compile(rf"{_NUMBER.pattern}|{_WORD.pattern}")
_OPENING = re.compile(r"(?:[.!?:]\W*\s|\n|^)\W*$")
"""Matches what lies before the first word of a sentence, a line or a quotation."""
_NOUNS_SHARE = 0.2
"""Share of words with a capital above which capitals mark no names: German has 25 %, English 5 to 10 %."""


@dataclass(frozen=True)
class Facts:
    """Names and numbers of a text."""

    text: str

    def invented_in(self, sentence: str) -> list[str]:
        """Return the numbers of a sentence, and its words with a capital after the first one, that the text has not.

        Only numbers are returned where capitals mark no names: in a language that gives all nouns one, or has none.
        """
        found = [number for number in _NUMBER.findall(sentence) if _plain(number) not in self._numbers]
        if self._capitals_mark_names:
            found += [word for word in _inner_capitals(sentence) if word.casefold() not in self._names]
        return found

    @cached_property
    def _numbers(self) -> Set[str]:
        return {_plain(number) for number in _NUMBER.findall(self.text)}

    @cached_property
    def _names(self) -> Set[str]:
        """Words that have a capital anywhere in the text, without it."""
        return {word.casefold() for word in _WORD.findall(self.text) if word[0].isupper()}

    @cached_property
    def _capitals_mark_names(self) -> bool:
        inner = sum(1 for _ in _inner_capitals(self.text))
        return inner <= _NOUNS_SHARE * len(_WORD.findall(self.text))


def _inner_capitals(text: str) -> Iterator[str]:
    """Yield the words with a capital that begin no sentence, and no "I"."""
    for match in _WORD.finditer(text):
        word = match.group()
        if word[0].isupper() and word != "I" and not _OPENING.search(text, max(0, match.start() - 8), match.start()):
            yield word


def _plain(number: str) -> str:
    """Return a number without the commas between its thousands."""
    return number.replace(",", "")
