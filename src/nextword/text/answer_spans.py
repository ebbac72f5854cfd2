"""Spans of the assistant's messages in a rendered conversation, on which the loss of fine-tuning is taken.

Marks are put around the messages, go through the chat template with them, and come out around the same text. They are
used only if the template writes the same text as without them, so no knowledge of any template is needed.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Callable, Sequence

from nextword.errors import TokenizerError
from nextword.text.chat_marks import Span, absent_characters, as_characters, strings_in
from nextword.text.chat_messages import PlainMessage

_Messages = Sequence[PlainMessage]


def find_answers(messages: _Messages, render: Callable[[_Messages], str], clean: Callable[[str], str]) -> list[Span]:
    """Return the spans of the assistant's messages in `clean(render(messages))`, in order.

    `clean` removes other marks from any part of the rendered text. Raises TokenizerError if the template rewrites these
    messages, so that their spans are unknown.
    """
    expected = clean(render(messages))
    begin, end = absent_characters(list(strings_in(messages)))
    for wrap in (_around, _around_words):  # templates that strip a message would not strip it inside marks
        marked = [_marked(message, functools.partial(wrap, begin=begin, end=end)) for message in messages]
        rendered = as_characters(render(marked), (begin, end))
        marks = "".join(re.findall(f"[{begin}{end}]", rendered))
        parts = [clean(part) for part in re.split(f"[{begin}{end}]", rendered)]
        if marks == (begin + end) * (len(marks) // 2) and "".join(parts) == expected:
            return _odd_spans(parts)
    raise TokenizerError("the chat template rewrites the assistant's messages, so their tokens are unknown")


def answer_tokens(text: str, places: Sequence[Span], is_special: Sequence[bool], answers: Sequence[Span]) -> list[bool]:
    """Return the loss mask of a text: for each token, True if it covers a character of an answer or ends one.

    `places` are the spans of the tokens in the text. The token that ends an answer is a special token behind it, with
    nothing but spaces between.
    """
    starts, stops = _without_gaps(places)
    is_answer = [False] * len(places)
    for begin, end in answers:
        first, after = bisect.bisect_right(stops, begin), bisect.bisect_left(starts, end)
        ending = after
        while ending < len(places) and not is_special[ending] and not text[starts[ending] : stops[ending]].strip():
            ending += 1
        is_ended = ending < len(places) and is_special[ending]
        stop = ending + 1 if is_ended else after
        is_answer[first:stop] = [True] * (stop - first)
    return is_answer


def _without_gaps(places: Sequence[Span]) -> tuple[list[int], list[int]]:
    """Return starts and stops of the places, without gaps: text between two places belongs to the second.

    Byte-level tokenizers leave out the space before a word; tokens of one character's bytes all have its place.
    """
    starts, stops, position = [], [], 0
    for start, stop in places:
        starts.append(min(start, position))
        position = max(stop, position)
        stops.append(position)
    return starts, stops


def _marked(message: PlainMessage, wrap: Callable[[str], str]) -> PlainMessage:
    """Mark the content of an assistant's message: a text, or each of its parts."""
    content = message.get("content")
    if message["role"] != "assistant" or content is None:
        return message
    if isinstance(content, str):
        return {**message, "content": wrap(content)}
    return {**message, "content": [{**part, "text": wrap(part["text"])} for part in content]}


def _around(content: str, begin: str, end: str) -> str:
    return begin + content + end


def _around_words(content: str, begin: str, end: str) -> str:
    words = content.strip()
    before, _, after = content.partition(words) if words else (content, "", "")
    return before + begin + words + end + after


def _odd_spans(parts: Sequence[str]) -> list[Span]:
    """Return the spans of every second part in the joined text."""
    spans, position = [], 0
    for number, part in enumerate(parts):
        if number % 2:
            spans.append((position, position + len(part)))
        position += len(part)
    return spans
