"""`AnswerFinder`: what the assistant writes in a conversation, as a chat template shows it, for fine-tuning's loss.

In generation the model is given the conversation so far, as the template renders it before an answer. So an answer is
what the rendering of the conversation up to it has beyond that: the assistant's text, its thoughts and calls of tools
as the template writes them, and the token that ends the turn. No knowledge of any template is needed.

Some templates show an answer in another way once the conversation goes on: they leave out earlier thoughts. Such an
answer is learnt as it was written, from a rendering that ends with it.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nextword.errors import TokenizerError
from nextword.text.chat_input import ChatInput
from nextword.text.chat_marks import Span, absent_characters, as_characters, map_strings, strings_in
from nextword.text.chat_messages import PlainMessage
from nextword.text.shown_values import require_shown, with_marks


@dataclass(frozen=True)
class RenderedAnswers:
    """Rendering of a conversation, or of its beginning, and the answers in it that are to be learnt."""

    text: str
    kept_as_text: Sequence[Span]
    """Parts written as special tokens by the conversation, which stay text."""
    answers: Sequence[Span]
    """Spans of the answers, each with the token that ends it, in order."""


@dataclass(frozen=True, kw_only=True)
class AnswerFinder:
    """A conversation with its template, and what the tokenizer knows of special tokens."""

    chat: ChatInput
    unwrap: Callable[[str], tuple[str, list[Span]]]
    """Function that takes the marks of special tokens in messages out of rendered text, and returns their spans."""
    special_tokens: Callable[[str], Sequence[tuple[int, Span]]]
    """Function that finds the special tokens in a text."""
    end_token_ids: Collection[int]

    def find(self, learnt: Sequence[bool]) -> list[RenderedAnswers]:
        """Return renderings with the answers in them; `learnt` says of each message whether it is to be learnt.

        One rendering holds all answers, but for those that it shows in another way than when they were written. Raises
        TokenizerError if the template leaves out a part of a message, or refuses the conversation.
        """
        numbers = [number for number, message in enumerate(self.chat.messages) if message["role"] == "assistant"]
        turns = [self._turn(number) for number in numbers]
        whole = self._rendered(len(self.chat.messages))
        self._require_shown({turn.number: turn.text for turn in turns}, whole[0])
        found = [RenderedAnswers(*whole, ())]
        for turn in reversed(turns):
            if not learnt[turn.number]:
                continue
            if not found[-1].text.startswith(turn.text[: turn.span[1]]):
                found.append(RenderedAnswers(turn.text, turn.kept_as_text, ()))
            found[-1] = dataclasses.replace(found[-1], answers=[turn.span, *found[-1].answers])
        return [rendering for rendering in reversed(found) if rendering.answers]

    def _turn(self, number: int) -> _Turn:
        text, kept_as_text = self._rendered(number + 1)
        last = self._last_character(number, text)
        for before, least in self._beginnings(number, text):
            begin = max(least, _common_length(text, before))
            if text.startswith(before[:least]) and begin <= last:
                return _Turn(number, text, kept_as_text, (begin, last + self._length_of_end(number, text[last:])))
        raise TokenizerError(f"the chat template does not write messages[{number}] behind those before it")

    def _beginnings(self, number: int, text: str) -> Iterator[tuple[str, int]]:
        """Yield what a template writes before an answer, and how much of it at least must be there.

        It is the prompt of generation, or where the template has none, what stands before any answer. Its last words,
        which begin the answer, may be others: a prompt can end with <think>, and the answer be a call without thoughts.
        """
        if number and self._begins_answers:
            shown = self._rendered(number)[0]
            prompt = self._rendered(number, add_generation_prompt=True)[0]
            yield prompt, len(shown) if text.startswith(shown) else len(prompt.rstrip())
        before, _ = self._around_any_answer(number)
        yield before, len(before.rstrip())

    def _around_any_answer(self, number: int) -> tuple[str, str]:
        """Return what the template writes before and after an answer of words alone."""
        before, *after = self._cut([*self.chat.messages[:number], {"role": "assistant", "content": self._mark}])
        return before, "".join(after)

    @functools.cached_property
    def _begins_answers(self) -> bool:
        """True if the template writes the beginning of an answer where it is asked to, before the first one."""
        roles = [message["role"] for message in self.chat.messages]
        first = roles.index("assistant", 1)
        return self._rendered(first)[0] != self._rendered(first, add_generation_prompt=True)[0]

    @functools.cached_property
    def _mark(self) -> str:
        return absent_characters(list(strings_in([self.chat.messages, self.chat.given])))[0]

    def _last_character(self, number: int, text: str) -> int:
        """Return the end of the last part of an answer in the rendering that ends with it."""
        *before, after = self._marked(number, through=number)
        if not before or "".join([*before, after]) != text:
            raise TokenizerError(f"the chat template rewrites messages[{number}], so its tokens are unknown")
        content = self.chat.messages[number].get("content")
        spaces = content[len(content.rstrip()) :] if isinstance(content, str) else ""
        return len(text) - len(after) + (len(spaces) if after.startswith(spaces) else 0)

    def _length_of_end(self, number: int, tail: str) -> int:
        """Return the length of what ends an answer behind its last part: through the end token, if there is one.

        If there is none, only what other answers do not have belongs to it, such as the end of a call.
        """
        special = self.special_tokens(tail)
        for token_id, (_, stop) in special:
            if token_id in self.end_token_ids:
                return stop
        run = _last_run(tail, [span for _, span in special])
        if not run:
            return len(tail.removesuffix(self._around_any_answer(number)[1]).rstrip())
        stop = run[0][1]
        for start, end in run[1:]:
            stop = end if start == stop else stop
        return stop

    def _require_shown(self, turns: Mapping[int, str], whole: str) -> None:
        """Check each message in the rendering up to the next answer: it was written with that before it."""
        messages = map_strings(self.chat.messages, lambda text: self.unwrap(text)[0])
        for number, message in enumerate(messages):
            through = next((turn for turn in turns if turn >= number), len(messages) - 1)

            def num_marks(number: int = number, through: int = through) -> int:
                return len(self._marked(number, through=through)) - 1

            require_shown(message, messages[:number], f"messages[{number}]", turns.get(through, whole), num_marks)

    def _marked(self, number: int, *, through: int) -> list[str]:
        """Render messages through `through`, cut at the end of each part of one of them."""
        message = with_marks(self.chat.messages[number], self._mark)
        return self._cut([*self.chat.messages[:number], message, *self.chat.messages[number + 1 : through + 1]])

    def _cut(self, messages: Sequence[PlainMessage]) -> list[str]:
        """Render messages, cut at the marks in them."""
        rendered = dataclasses.replace(self.chat, messages=messages, add_generation_prompt=False).render()
        return [self.unwrap(part)[0] for part in as_characters(rendered, (self._mark,)).split(self._mark)]

    def _rendered(self, stop: int, *, add_generation_prompt: bool = False) -> tuple[str, list[Span]]:
        messages = self.chat.messages[:stop]
        chat = dataclasses.replace(self.chat, messages=messages, add_generation_prompt=add_generation_prompt)
        return self.unwrap(chat.render())


@dataclass(frozen=True)
class _Turn:
    """An answer in the rendering that ends with it."""

    number: int
    """Index of its message."""
    text: str
    kept_as_text: Sequence[Span]
    span: Span


def answer_tokens(places: Sequence[Span], answers: Sequence[Span]) -> list[bool]:
    """Return the loss mask of a text: for each token, whether it covers a character of an answer.

    `places` are the spans of the tokens in the text.
    """
    starts, stops = _without_gaps(places)
    is_answer = [False] * len(places)
    for begin, end in answers:
        first, after = bisect.bisect_right(stops, begin), bisect.bisect_left(starts, end)
        is_answer[first:after] = [True] * (after - first)
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


def _common_length(text: str, before: str) -> int:
    """Return the length of the beginning that two texts share; if it is not all of `before`, up to the end of a tag."""
    if text.startswith(before):
        return len(before)
    length = min(len(text), len(before))
    shared = next((index for index in range(length) if text[index] != before[index]), length)
    return 1 + max(text.rfind(end, 0, shared) for end in (">", "]", "\n"))


def _last_run(text: str, spans: Sequence[Span]) -> list[Span]:
    """Return those of the spans, which are in order, that are followed by spaces and each other alone."""
    run: list[Span] = []
    after = len(text)
    for start, stop in reversed(spans):
        if text[stop:after].strip():
            break
        run.insert(0, (start, stop))
        after = start
    return run
