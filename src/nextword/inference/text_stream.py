"""Tokens of one completion in, text out that may be shown: whole characters, and never a part of a stop string."""

from __future__ import annotations

from nextword.text.stream_decoder import StreamDecoder


class TextStream:
    """The text of a completion as it grows. Holds back whatever could become a stop string."""

    def __init__(self, decoder: StreamDecoder, stop: tuple[str, ...]) -> None:
        self.stopped = False
        """Whether a stop string was found; it is not part of the text."""
        self._decoder = decoder
        self._stop = stop
        self._held = ""
        self._given: list[str] = []

    @property
    def text(self) -> str:
        """All that was given out so far."""
        return "".join(self._given)

    def push(self, token_id: int) -> str:
        """The text that this token makes certain."""
        return self._release(self._decoder.push(token_id), is_last=False)

    def flush(self) -> str:
        """What was held back, once no token follows."""
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
        self._given.append(safe)
        return safe

    def _dangerous_suffix(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0
