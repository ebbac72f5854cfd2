"""`StreamDecoder`: decode tokens as they arrive, without ever splitting a character.

Each token costs the same however long the text is: only the bytes of an incomplete character are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

from nextword.text.token_bytes import TokenBytes, checked_token_id

_MOST_BYTES = 4
"""Bytes of the longest character in UTF-8."""


class StreamDecoder:
    """Incremental decoder of one sequence; its pieces, concatenated, are the decoded text."""

    def __init__(self, token_bytes: TokenBytes, *, skipped: Collection[int] = (), after: Sequence[int] = ()) -> None:
        """Begin a text, or continue that of the tokens `after`; `skipped` are token ids that add nothing to a text."""
        self._token_bytes = token_bytes
        self._skipped = skipped
        self._decode = token_bytes.decoder()
        tail = self._last_bytes(after)
        self.begins_text = token_bytes.removes_space and not tail
        """True until the first character of a text, which is left out if it is a space."""
        self._decode(tail, False)
        self._tail = tail[-_MOST_BYTES:]

    def copy(self) -> StreamDecoder:
        """Return a decoder at the same place of the text; both go on independently."""
        copied = copy.copy(self)
        copied._decode = self._token_bytes.decoder()
        copied._decode(self._tail, False)
        return copied

    def _last_bytes(self, token_ids: Sequence[int]) -> bytes:
        """Return the last bytes of a text, enough for a character that is not complete, which has at most four."""
        tail = b""
        for token_id in reversed(token_ids):
            if checked_token_id(token_id) not in self._skipped:
                tail = self._token_bytes[token_id] + tail
            if len(tail) >= _MOST_BYTES:
                break
        return tail

    def push(self, token_id: int) -> str:
        """Return the text that this token completes; it may be empty. Raises TokenizerError for no token id."""
        if checked_token_id(token_id) in self._skipped:
            return ""
        added = self._token_bytes[token_id]
        self._tail = (self._tail + added)[-_MOST_BYTES:]
        return self._write(self._decode(added, False))

    def control_text(self, token_id: int) -> str:
        """Return the text that a control token adds, whatever stands before it."""
        return "" if token_id in self._skipped else self._token_bytes[token_id].decode(errors="replace")

    def flush(self) -> str:
        """Return the rest of the text at its end; incomplete characters become U+FFFD."""
        self._tail = b""
        return self._write(self._decode(b"", True))

    def _write(self, piece: str) -> str:
        if self.begins_text and piece:
            self.begins_text = False
            return piece.removeprefix(" ")
        return piece
