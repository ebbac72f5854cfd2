"""Where a rendered conversation holds what the assistant wrote: what a model is trained to say.

Marks go through the chat template with the messages, and come out around the same text. It is taken only if the
template wrote the same as without them, so no rule of any template is guessed. This module knows no tokens.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Mapping, Sequence

from nextword.errors import TokenizerError
from nextword.text.chat_marks import Span, absent_characters

_Messages = Sequence[Mapping[str, str]]


def find_answers(messages: _Messages, render: Callable[[_Messages], str], clean: Callable[[str], str]) -> list[Span]:
    """The parts of `clean(render(messages))` that are assistant's messages, in order.

    `clean` removes other marks from any part of what was rendered. Raises TokenizerError if the template rewrites such
    messages, so that their parts cannot be told.
    """
    expected = clean(render(messages))
    begin, end = absent_characters([text for message in messages for text in message.values()])
    for wrap in (_around, _around_words):  # templates that strip spaces around a message do not see them within marks
        marked = [
            {**message, "content": wrap(message["content"], begin, end)} if message["role"] == "assistant" else message
            for message in messages
        ]
        rendered = render(marked)
        marks = "".join(re.findall(f"[{begin}{end}]", rendered))
        parts = [clean(part) for part in re.split(f"[{begin}{end}]", rendered)]
        if marks == (begin + end) * (len(marks) // 2) and "".join(parts) == expected:
            return _odd_spans(parts)
    raise TokenizerError("the chat template rewrites the assistant's messages, so their tokens cannot be told")


def answer_tokens(text: str, places: Sequence[Span], is_special: Sequence[bool], answers: Sequence[Span]) -> list[bool]:
    """Whether each token of a text holds a character of an answer, or is the special token that ends one.

    `places` are those that the tokens stand for. Only spaces can lie between an answer and the token that ends it.
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
    """Begins and ends of places; what lies between two belongs to the latter.

    Byte-level tokenizers leave out the space before a word, tokens of one character's bytes all have its place.
    """
    starts, stops, position = [], [], 0
    for start, stop in places:
        starts.append(min(start, position))
        position = max(stop, position)
        stops.append(position)
    return starts, stops


def _around(content: str, begin: str, end: str) -> str:
    return begin + content + end


def _around_words(content: str, begin: str, end: str) -> str:
    words = content.strip()
    before, _, after = content.partition(words) if words else (content, "", "")
    return before + begin + words + end + after


def _odd_spans(parts: Sequence[str]) -> list[Span]:
    """Begin and end of every second part, counted in all of them joined."""
    spans, position = [], 0
    for number, part in enumerate(parts):
        if number % 2:
            spans.append((position, position + len(part)))
        position += len(part)
    return spans
