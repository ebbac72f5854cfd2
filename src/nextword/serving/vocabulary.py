"""`Vocabulary`: tokens as clients see them, and found by their text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nextword.decoding.params import SamplingParams
from nextword.text.tokenizer import Tokenizer

Ids = npt.NDArray[np.intp]
_MOST_NAMED = 16_384
"""Tokens whose names are kept: a slider asks for those of the same rows again and again."""
_MOST_SEARCHES = 16


class Vocabulary:
    """The tokens of one model."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        """`size`: the width of a row of logits, which may be more than the tokenizer's own tokens."""
        self._tokenizer, self._size = tokenizer, size
        self._named = functools.lru_cache(_MOST_NAMED)(self._name)
        self._found = functools.lru_cache(_MOST_SEARCHES)(self._find)

    def named(self, token_id: int) -> Mapping[str, Any]:
        """Return a token's id and text, and its bytes where they are not those of the text."""
        return self._named(token_id)

    def search(self, text: str) -> Ids:
        """Return the ids of the tokens with this text in them, in capitals or not."""
        return self._found(text.casefold())

    def prepare(self) -> None:
        """Read all tokens now; else the first search, and the first use of DRY, wait for that."""
        self.search("")
        self._tokenizer.tokens_with(SamplingParams().dry_sequence_breakers)

    def _name(self, token_id: int) -> Mapping[str, Any]:
        text, data = self._tokenizer.token_text(token_id), self._tokenizer.token_bytes(token_id)
        named = {"token_id": token_id, "text": text}
        return {**named, "bytes": list(data)} if data and data != text.encode() else named

    def _find(self, wanted: str) -> Ids:
        return np.array([token_id for token_id, other in enumerate(self._texts) if wanted in other], dtype=np.intp)

    @functools.cached_property
    def _texts(self) -> list[str]:
        return [self._tokenizer.token_text(token_id).casefold() for token_id in range(self._size)]
