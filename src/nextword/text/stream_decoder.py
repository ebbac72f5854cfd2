"""Decoding while tokens arrive: a token id in, the text that is now certain out, never half a character.

Each token costs the same, however long the text is and whatever its bytes are: only the bytes of a character that is
not yet complete are kept.
"""

from __future__ import annotations

from collections.abc import Collection

from nextword.text.token_bytes import TokenBytes


class StreamDecoder:
    """Turns the tokens of one growing text into pieces whose concatenation is the text."""

    def __init__(self, token_bytes: TokenBytes, *, skipped: Collection[int] = ()) -> None:
        """`skipped` are the tokens that are left out of the text."""
        self._token_bytes = token_bytes
        self._skipped = skipped
        self._decode = token_bytes.decoder()
        self._removes_space = token_bytes.removes_space
        """Whether the next character is the first and left out if it is a space."""

    def push(self, token_id: int) -> str:
        """The text that this token completes, perhaps empty."""
        if token_id in self._skipped:
            return ""
        return self._write(self._decode(self._token_bytes[token_id], False))

    def flush(self) -> str:
        """What is left at the end, incomplete characters as U+FFFD."""
        return self._write(self._decode(b"", True))

    def _write(self, piece: str) -> str:
        if self._removes_space and piece:
            self._removes_space = False
            return piece.removeprefix(" ")
        return piece
