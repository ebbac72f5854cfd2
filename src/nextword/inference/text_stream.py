"""`TextStream`: tokens of one completion in, text to show out: whole tokens, never a part of a stop string."""

from __future__ import annotations

import copy

from nextword.inference.stop_strings import StopStrings
from nextword.text.stream_decoder import StreamDecoder


class TextStream:
    """The text of a completion as it grows. Holds back tokens whose text could become a stop string."""

    def __init__(self, decoder: StreamDecoder, stop: StopStrings) -> None:
        self.stopped = False
        """True once a stop string was found; it is no part of the text, unless it is to be shown."""
        self.token_texts: list[str] = []
        """Text that each token added, of those whose text is released; together they are `text`."""
        self._decoder = decoder
        self._stop = stop.strings
        self._marks = stop.marks
        self._shows_stop = stop.are_shown
        self._after_prompt = ""
        """Half a character at the end of the prompt, where no token follows."""
        self._held: list[str] = []
        """Texts of the tokens that are held back, with marks for the control tokens that stop strings name."""

    def copy(self) -> TextStream:
        """Return a stream with the same text so far; both grow independently."""
        copied = copy.copy(self)
        copied._decoder = self._decoder.copy()
        copied.token_texts = list(self.token_texts)
        copied._held = list(self._held)
        return copied

    @property
    def text(self) -> str:
        """The text released up to now."""
        return self._after_prompt + "".join(self.token_texts)

    def push(self, token_id: int, *, is_text: bool = True) -> str:
        """Append a token; return the text that it makes certain. `is_text`: False for an end token without text."""
        piece = (self._marks.get(token_id) or self._decoder.push(token_id)) if is_text and not self.stopped else ""
        if piece and not self._held and not self._stop:  # nearly always; what follows would do the same
            self.token_texts.append(piece)
            return piece
        self._held.append(piece)
        return self._release(is_last=False)

    def is_named(self, token_id: int) -> bool:
        """Return True for a control token that a stop string names."""
        return token_id in self._marks

    def flush(self) -> str:
        """Return the text that was held back; no token follows. Half a character belongs to the last token."""
        rest = "" if self.stopped else self._decoder.flush()
        if self._held:
            self._held[-1] += rest
            return self._release(is_last=True)
        if self.token_texts:
            self.token_texts[-1] += rest
        else:
            self._after_prompt += rest
        return rest

    def _release(self, *, is_last: bool) -> str:
        held = "".join(self._held)
        found = [(position, stop) for stop in self._stop if (position := held.find(stop)) >= 0]
        if found:
            self.stopped = True
            position, stop = min(found, key=lambda one: one[0])
            certain = position + (len(stop) if self._shows_stop else 0)
        else:
            certain = len(held) if is_last else len(held) - self._dangerous_suffix(held)
        return self._give_out(certain, all_tokens=self.stopped or is_last)

    def _give_out(self, certain: int, *, all_tokens: bool) -> str:
        """Release the tokens whose text ends within the first characters of what is held.

        Tokens after the last of these that has text wait for what they begin, unless all are released.
        """
        count, released, end = len(self._held) if all_tokens else 0, [], 0
        for number, piece in enumerate(self._held, 1):
            released.append(piece[: max(certain - end, 0)])
            end += len(piece)
            if piece and end <= certain:
                count = max(count, number)
        texts = [self._without_marks(text) for text in released[:count]]
        self._held = self._held[count:]
        self.token_texts += texts
        return "".join(texts)

    def _without_marks(self, text: str) -> str:
        for token_id, mark in self._marks.items():
            text = text.replace(mark, self._decoder.control_text(token_id))
        return text

    def _dangerous_suffix(self, held: str) -> int:
        """Return the length of the longest suffix of the held text that begins a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(held)), 0, -1):
            if any(stop.startswith(held[-length:]) for stop in self._stop):
                return length
        return 0
