"""`TextStream`: tokens of one completion in, text to show out: whole characters, never a part of a stop string."""

from __future__ import annotations

import copy

from nextword.inference.stop_strings import StopStrings
from nextword.text.stream_decoder import StreamDecoder


class TextStream:
    """The text of a completion as it grows. Holds back text that could become a stop string."""

    def __init__(self, decoder: StreamDecoder, stop: StopStrings) -> None:
        self.stopped = False
        """True once a stop string was found; it is no part of the text."""
        self._decoder = decoder
        self._stop = stop.strings
        self._marks = stop.marks
        self._held = ""
        self._released: list[str] = []

    def copy(self) -> TextStream:
        """Return a stream with the same text so far; both grow independently."""
        copied = copy.copy(self)
        copied._decoder = self._decoder.copy()
        copied._released = list(self._released)
        return copied

    @property
    def text(self) -> str:
        """The text released up to now."""
        return "".join(self._released)

    def push(self, token_id: int) -> str:
        """Append a token; return the text that it makes certain."""
        return self._release(self._marks.get(token_id) or self._decoder.push(token_id), is_last=False)

    def is_named(self, token_id: int) -> bool:
        """Return True for a control token that a stop string names."""
        return token_id in self._marks

    def flush(self) -> str:
        """Return the text that was held back; no token follows."""
        return self._release(self._decoder.flush(), is_last=True)

    def _release(self, piece: str, *, is_last: bool) -> str:
        if self.stopped:
            return ""
        self._held += piece
        found = [position for stop in self._stop if (position := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            safe = self._held[: min(found)]
        else:
            safe = self._held if is_last else self._held[: len(self._held) - self._dangerous_suffix()]
        self._held = self._held[len(safe) :]
        for token_id, mark in self._marks.items():
            safe = safe.replace(mark, self._decoder.control_text(token_id))
        self._released.append(safe)
        return safe

    def _dangerous_suffix(self) -> int:
        """Return the length of the longest suffix of the held text that begins a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0
