"""`StreamDecoder`: decode tokens as they arrive, without ever splitting a character.

Each token costs the same however long the text is: only the bytes of an incomplete character are kept.
"""

from __future__ import annotations

from collections.abc import Collection

from nextword.text.token_bytes import TokenBytes


class StreamDecoder:
    """Incremental decoder of one sequence; its pieces, concatenated, are the decoded text."""

    def __init__(self, token_bytes: TokenBytes, *, skipped: Collection[int] = ()) -> None:
        """Begin a text; `skipped` are token ids that add nothing to it."""
        self._token_bytes = token_bytes
        self._skipped = skipped
        self._decode = token_bytes.decoder()
        self._removes_space = token_bytes.removes_space
        """True until the first character, which is left out if it is a space."""

    def push(self, token_id: int) -> str:
        """Return the text that this token completes; it may be empty."""
        if token_id in self._skipped:
            return ""
        return self._write(self._decode(self._token_bytes[token_id], False))

    def flush(self) -> str:
        """Return the rest of the text at its end; incomplete characters become U+FFFD."""
        return self._write(self._decode(b"", True))

    def _write(self, piece: str) -> str:
        if self._removes_space and piece:
            self._removes_space = False
            return piece.removeprefix(" ")
        return piece
