"""`TextEncoder`: texts in, tokens with their places in the text out, by the `tokenizers` library.

Texts of any length are encoded in parts that together have the tokens of the whole. It knows no tokens around a text
and no chats.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator, Sequence

import tokenizers
from tokenizers import models

from nextword.checks import is_unicode, shown
from nextword.errors import TokenizerError
from nextword.text.borders import PART_LENGTH, cut_at_borders
from nextword.text.chat_marks import Span
from nextword.text.encoding_steps import EncodingSteps, Place
from nextword.text.foreign_errors import translated

Token = tuple[int, Span]
"""A token id and the place of its text."""

_HIDDEN = "\ufffe"
"""Noncharacter that hides text in which special tokens must not be found; it is one character, in no vocabulary."""
_AROUND = ((128, 128), (113, 101), (97, 77))
"""Characters before and behind a place that are encoded to see if it is a border: more than a token with its word.

Several, since a repeated word can end at a place by chance where it does not end in the whole text.
"""
_LONG = 1 << 12
"""Characters of a text that takes a millisecond or more."""
_CANNOT_ENCODE = "the tokenizer cannot encode this text"


class TextEncoder:
    """Encoder of one vocabulary. Threads may use it at the same time."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.added = backend.get_added_tokens_decoder()
        """Tokens that are found in a text before it is cut into words, by id."""
        self.special_ids = frozenset(token_id for token_id, token in self.added.items() if token.special)
        self._backend = backend
        self._steps = EncodingSteps(backend)
        self._is_unigram = isinstance(backend.model, models.Unigram)
        self._lock = threading.Lock()

    def token_ids(self, text: str, *, parse_special: bool = False, place: Place = Place.BEGINNING) -> list[int]:
        """Encode a text. `parse_special`: special tokens written in it are read as such. Raises TokenizerError."""
        parts = [part.ids for _, part in self._parts(text, parse_special, place)]
        return parts[0] if len(parts) == 1 else [token_id for part in parts for token_id in part]

    def tokens(self, text: str, *, parse_special: bool = False, place: Place = Place.BEGINNING) -> list[Token]:
        """Encode a text as `token_ids` does, and return each token with its place in the text."""
        return [
            (token_id, (first + start, first + stop))
            for first, part in self._parts(text, parse_special, place)
            for token_id, (start, stop) in zip(part.ids, part.offsets, strict=True)
        ]

    def batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode each text as `token_ids` does, on all cores."""
        if any(len(text) > PART_LENGTH for text in texts):
            return [self.token_ids(text) for text in texts]
        for text in texts:
            check_text(text)
        with self._lock, self._steps.applied(Place.BEGINNING), translated(_CANNOT_ENCODE):
            self._backend.encode_special_tokens = True
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [
            encoding.ids if self.special_ids.isdisjoint(encoding.ids) else self.token_ids(text)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def special_tokens(self, text: str) -> list[Token]:
        """Return the special tokens written in a text, with the spaces that some of them absorb."""
        return [token for token in self.tokens(text, parse_special=True) if self.is_special(*token, text)]

    def is_special(self, token_id: int, place: Span, text: str) -> bool:
        """Return True for a special token that the text spells, not for one that stands for unknown characters."""
        return token_id in self.special_ids and self._is_written(token_id, place, text)

    def rendered(self, text: str, kept_as_text: Sequence[Span]) -> list[Token]:
        """Encode a text whose special tokens are control tokens, except in `kept_as_text`."""
        if not kept_as_text:
            return self.tokens(text, parse_special=True)
        hidden = text
        for start, stop in kept_as_text:
            hidden = hidden[:start] + _HIDDEN * (stop - start) + hidden[stop:]
        tokens: list[Token] = []
        position = 0
        for token_id, (start, stop) in self.special_tokens(hidden):
            tokens += [*self._section(text, (position, start)), (token_id, (start, stop))]
            position = stop
        return [*tokens, *self._section(text, (position, len(text)))]

    def is_border(self, text: str, at: int, *, parse_special: bool = False) -> bool:
        """Return True if a text cut at this index, as a beginning and a continuation, has the tokens of the whole."""
        for before, after in _AROUND:
            left, right = text[max(0, at - before) : at], text[at : at + after]
            first = self.token_ids(left, parse_special=parse_special)
            uncut = self._encoding(left + right, parse_special, Place.BEGINNING)
            if first + self.token_ids(right, parse_special=parse_special, place=Place.CONTINUATION) != uncut.ids:
                return False
            # Sums of a unigram model are rounded: only another word has sums of its own.
            if self._is_unigram and uncut.word_ids[len(first) - 1 : len(first)] == uncut.word_ids[len(first) :][:1]:
                return False
        return True

    def _section(self, text: str, span: Span) -> list[Token]:
        """Encode a part of a text between control tokens; places are those in the whole text."""
        first, place = span[0], Place.SECTION if span[0] else Place.BEGINNING
        tokens = self.tokens(text[slice(*span)], place=place)
        return [(token_id, (first + start, first + stop)) for token_id, (start, stop) in tokens]

    def _parts(self, text: str, parse_special: bool, place: Place) -> Iterator[tuple[int, tokenizers.Encoding]]:
        """Encode a text in parts; yield each with the index of its first character."""
        check_text(text)
        if len(text) <= PART_LENGTH:
            yield from self._part(text, parse_special, place)
            return

        first = 0
        for part in cut_at_borders([text], functools.partial(self.is_border, parse_special=parse_special)):
            for start, encoding in self._part(part, parse_special, Place.CONTINUATION if first else place):
                yield first + start, encoding
            first += len(part)

    def _part(self, text: str, parse_special: bool, place: Place) -> Iterator[tuple[int, tokenizers.Encoding]]:
        """Encode a text at once, or in two sections where only the first of them continues a text without a space."""
        encoding = self._encoding(text, parse_special, place)
        cuts = [] if parse_special else self._inside_special(text, encoding)
        if cuts:
            for first, last in itertools.pairwise([0, *cuts, len(text)]):
                for inner, part in self._part(text[first:last], False, Place.CONTINUATION if first else place):
                    yield first + inner, part
            return
        start = self._first_section(text, encoding, parse_special) if place is Place.CONTINUATION else None
        if start is None:
            yield 0, encoding
        else:
            yield 0, self._encoding(text[:start], parse_special, place)
            yield start, self._encoding(text[start:], parse_special, Place.SECTION)

    def _inside_special(self, text: str, encoding: tokenizers.Encoding) -> list[int]:
        """Return a place inside each special token that the model forms of text: some form any token they know."""
        if self.special_ids.isdisjoint(encoding.ids):
            return []
        found = (
            (self.added[token_id].content, place)
            for token_id, place in zip(encoding.ids, encoding.offsets, strict=True)
            if token_id in self.special_ids
        )
        return [
            text.index(content, start) + 1
            for content, (start, stop) in found
            if len(content) > 1 and content in text[start:stop]
        ]

    def _first_section(self, text: str, encoding: tokenizers.Encoding, parse_special: bool) -> int | None:
        """Return where an added token ends the text before a section that gets a space, as the continuation did not."""
        if not self._steps.section_adds_space:
            return None
        ends = {
            token_id
            for token_id, token in self.added.items()
            if (parse_special or not token.special) and not (token.normalized and self._steps.normalizer_adds_space)
        }
        found = (token for token in zip(encoding.ids, encoding.offsets, strict=True) if token[0] in ends)
        return next((place[0] for token_id, place in found if self._is_written(token_id, place, text)), None)

    def _is_written(self, token_id: int, place: Span, text: str) -> bool:
        token = self.added[token_id]
        return token.normalized or token.content in text[slice(*place)]

    def _encoding(self, text: str, parse_special: bool, place: Place) -> tokenizers.Encoding:
        with self._lock, self._steps.applied(place), translated(_CANNOT_ENCODE):
            self._backend.encode_special_tokens = not parse_special  # a property of the whole tokenizer
            if len(text) > _LONG:  # only the library's call for several texts lets other threads run meanwhile
                return self._backend.encode_batch([text], add_special_tokens=False)[0]
            return self._backend.encode(text, add_special_tokens=False)


def check_text(text: str) -> None:
    """Raise TokenizerError if `text` is no string or has no UTF-8 encoding."""
    if not isinstance(text, str):
        raise TokenizerError(f"text = {shown(text)}: must be a string")
    if not is_unicode(text):
        first = next(index for index, character in enumerate(text) if not is_unicode(character))
        raise TokenizerError(f"character {first} of the text is not valid Unicode (the input was not UTF-8)")
