"""`MarkedText`: mark special tokens written inside messages, to tell them from those of the chat template.

The marks are characters that no message holds. They go through the chat template with the message, and come out around
the same text, wherever the template puts it. This module knows no tokenizer.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nextword.errors import TokenizerError

Span = tuple[int, int]
"""Start and stop of a part of a text, in characters."""

_PRIVATE_USE = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
"""Private-use code points: characters without a meaning of their own."""


class MarkedText:
    """Plain data with marks around parts of its strings that must stay text, and their removal after rendering."""

    def __init__(self, values: Any, find: Callable[[str], Sequence[Span]]) -> None:
        """Mark the spans that `find` returns for each string in `values`, a key or a value at any depth.

        Raises TokenizerError if the strings hold all characters that could be marks.
        """
        self._begin, self._end = absent_characters(list(strings_in(values)))
        self._marked: set[str] = set()
        self.values = map_strings(values, functools.cache(lambda text: self._wrap(text, find(text))))

    def unwrap(self, rendered: str) -> tuple[str, list[Span]]:
        """Remove the marks from rendered text; return it with the spans that were marked.

        A template that cuts messages can lose one mark of a pair; the other one is enough.
        """
        begin, end = self._begin, self._end
        rendered = as_characters(rendered, (begin, end))
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
    whole = "\n".join(text for text in texts if "\\" in text)
    free = (
        chr(point)
        for point in itertools.chain.from_iterable(_PRIVATE_USE)
        if chr(point) not in written and not any(escape in whole for escape in _escapes(chr(point)))
    )
    first, second = next(free, None), next(free, None)
    if first is None or second is None:
        raise TokenizerError("the messages hold every private-use character of Unicode; leave two of them out")
    return first, second


def as_characters(rendered: str, marks: Sequence[str]) -> str:
    """Return rendered text with marks as characters where a template wrote them as escapes of JSON or Python."""
    for mark in marks if "\\" in rendered else ():
        for escape in _escapes(mark):
            rendered = rendered.replace(escape, mark)
    return rendered


def strings_in(values: Any) -> Iterator[str]:
    """Yield all strings of plain data, keys included."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield key
            yield from strings_in(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from strings_in(value)


def map_strings(values: Any, change: Callable[[str], str]) -> Any:
    """Return plain data with each string changed, keys included."""
    if isinstance(values, str):
        return change(values)
    if isinstance(values, Mapping):
        return {change(key): map_strings(value, change) for key, value in values.items()}
    return [map_strings(value, change) for value in values] if isinstance(values, list | tuple) else values


def _escapes(mark: str) -> tuple[str, str]:
    """Return a character as JSON without other characters than ASCII writes it, and as Python shows it."""
    high, low = divmod(ord(mark) - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}", f"\\U{ord(mark):08x}"
