"""Decoding while tokens arrive: a token id in, the text that is now certain out, never half a character.

Only the tokens since the last whole character are decoded again, so the cost of a token does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""What decoders write for bytes that are not (yet) a character."""


class StreamDecoder:
    """Turns the tokens of one growing text into pieces whose concatenation is the text."""

    def __init__(self, decode: Callable[[Sequence[int]], str], *, skipped: Collection[int] = ()) -> None:
        """`decode` gives the text of token ids; `skipped` are the tokens that it leaves out."""
        self._decode = decode
        self._skipped = skipped
        self._context: list[int] = []
        """Tokens already written; they decide how the next ones are joined to them."""
        self._pending: list[int] = []

    def push(self, token_id: int) -> str:
        """The text that this token completes, perhaps empty."""
        if token_id in self._skipped:
            return ""
        self._pending.append(token_id)
        piece = self._new_text()
        return "" if piece.endswith(REPLACEMENT) else self._write(piece)

    def flush(self) -> str:
        """What is left at the end, incomplete characters as U+FFFD."""
        return self._write(self._new_text())

    def _new_text(self) -> str:
        before = self._decode(self._context)
        return self._decode(self._context + self._pending)[len(before) :]

    def _write(self, piece: str) -> str:
        if piece:
            self._context = self._pending or self._context
            self._pending = []
        return piece
