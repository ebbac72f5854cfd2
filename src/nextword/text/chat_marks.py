"""`MarkedMessages`: mark special tokens written inside messages, to tell them from those of the chat template.

The marks are characters that no message holds. They go through the chat template with the message, and come out around
the same text, wherever the template puts it. This module knows no tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from nextword.errors import TokenizerError

Span = tuple[int, int]
"""Start and stop of a part of a text, in characters."""
Message = Mapping[str, str]
"""Message of a conversation, with the keys "role" and "content"."""

_PRIVATE_USE = (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))
"""Private-use code points: characters without a meaning of their own."""


class MarkedMessages:
    """Messages with marks around parts that must stay text, and the removal of the marks after rendering."""

    def __init__(self, messages: Sequence[Message], find: Callable[[str], Sequence[Span]]) -> None:
        """Mark the spans that `find` returns for each text, in order.

        Raises TokenizerError if the messages hold all characters that could be marks.
        """
        self._begin, self._end = absent_characters([text for message in messages for text in message.values()])
        self._marked: set[str] = set()
        self.messages = [{key: self._wrap(text, find(text)) for key, text in message.items()} for message in messages]

    def unwrap(self, rendered: str) -> tuple[str, list[Span]]:
        """Remove the marks from rendered text; return it with the spans that were marked.

        A template that cuts messages can lose one mark of a pair; the other one is enough.
        """
        begin, end = self._begin, self._end
        known = "|".join(re.escape(text) for text in sorted(self._marked, key=len, reverse=True)) or "(?!)"
        marked = f"{begin}([^{begin}{end}]*){end}|{begin}({known})|({known}){end}|[{begin}{end}]"
        text, spans, position = "", [], 0
        for match in re.finditer(marked, rendered):
            text += rendered[position : match.start()]
            kept = match[match.lastindex] if match.lastindex else ""
            if kept:
                spans.append((len(text), len(text) + len(kept)))
            text += kept
            position = match.end()
        return text + rendered[position:], spans

    def _wrap(self, text: str, spans: Sequence[Span]) -> str:
        for start, stop in reversed(spans):
            self._marked.add(text[start:stop])
            text = f"{text[:start]}{self._begin}{text[start:stop]}{self._end}{text[stop:]}"
        return text


def absent_characters(texts: Sequence[str]) -> tuple[str, str]:
    """Return two private-use characters that none of the texts holds. Raises TokenizerError if there are none."""
    written = set().union(*texts)
    free = (chr(point) for point in _PRIVATE_USE if chr(point) not in written)
    first, second = next(free, None), next(free, None)
    if first is None or second is None:
        raise TokenizerError("the messages hold every private-use character of Unicode; leave two of them out")
    return first, second
