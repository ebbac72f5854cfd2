"""`Vocabulary`: tokens as clients see them, and found by their text."""

from __future__ import annotations

import functools
from typing import Any

from nextword.text.tokenizer import Tokenizer


class Vocabulary:
    """The tokens of one model."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        """`size`: the width of a row of logits, which may be more than the tokenizer's own tokens."""
        self._tokenizer, self._size = tokenizer, size

    def named(self, token_id: int) -> dict[str, Any]:
        """Return a token's id and text, and its bytes where they are not those of the text."""
        text, data = self._tokenizer.token_text(token_id), self._tokenizer.token_bytes(token_id)
        named = {"token_id": token_id, "text": text}
        return {**named, "bytes": list(data)} if data and data != text.encode() else named

    def search(self, text: str) -> list[int]:
        """Return the ids of the tokens with this text in them, in capitals or not."""
        wanted = text.casefold()
        return [token_id for token_id, other in enumerate(self._texts) if wanted in other]

    @functools.cached_property
    def _texts(self) -> list[str]:
        return [self._tokenizer.token_text(token_id).casefold() for token_id in range(self._size)]
