"""`ThoughtSplitter`: tell the thoughts that begin an answer, as in `<think>...</think>`, from what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class ThoughtMark(NamedTuple):
    """Texts around thoughts, without the white space at their ends."""

    begin: str
    """Written by the model, or the end of the prompt."""
    end: str
    """Ends the thoughts; empty: `begin` begins the answer itself, without any."""
    after: str = ""
    """Follows `end` before the answer's own text, but not before a call of a tool."""


class ThoughtMarks(NamedTuple):
    """Marks of the thoughts in the answer to one prompt."""

    marks: tuple[ThoughtMark, ...]
    token_ids: frozenset[int]
    """Control tokens in the marks: text of an answer, in which the marks are looked for."""
    continues_message: bool = False
    """True if the prompt ends within a message, in whose thoughts the answer may begin."""


KNOWN_MARKS: tuple[ThoughtMark, ...] = (
    ThoughtMark("<think>", "</think>"),  # DeepSeek, Qwen, GLM, SmolLM3 and most others
    ThoughtMark("[THINK]", "[/THINK]"),  # Mistral
    ThoughtMark("<seed:think>", "</seed:think>"),  # Seed-OSS
    ThoughtMark("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"),  # Cohere
    ThoughtMark("<|START_RESPONSE|>", ""),
    ThoughtMark("<|channel>thought", "<channel|>"),  # Gemma 4
    ThoughtMark("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ThoughtMark("<|think|>", "<|end|>", "<|begin|>assistant<|content|>"),  # Solar Open
    # gpt-oss
    ThoughtMark("<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>"),
    ThoughtMark("<|channel|>final<|message|>", ""),
)
"""Marks of models whose templates show them nowhere, or only beside calls of tools."""


class ThoughtSplitter:
    """Splits an answer as it grows; thoughts keep their marks."""

    def __init__(
        self, prompt: str, marks: Sequence[ThoughtMark] = KNOWN_MARKS, *, continues_message: bool = False
    ) -> None:
        """Begin an answer to a prompt, which may have opened the thoughts.

        `continues_message`: the prompt ends within the answer; thoughts that it has not ended go on.
        """
        self._marks = marks
        is_open = _is_within if continues_message else _is_at_begin
        self._mark = next((mark for mark in marks if mark.end and is_open(prompt, mark)), None)
        self._is_said = continues_message and self._mark is None
        self._held = ""

    @property
    def is_thinking(self) -> bool:
        """True while the text is known to be a thought: from its mark, or the prompt's, to the mark at its end."""
        return self._mark is not None and not self._is_said

    def push(self, piece: str, *, is_last: bool = False) -> list[tuple[str, bool]]:
        """Append text; return what is certain, each part with True for thoughts. Holds back what may become a mark."""
        self._held += piece
        if not self._is_said and self._mark is None and not self._find_begin(is_last=is_last):
            return []
        thought = "" if self._is_said or self._mark is None else self._take_thought(self._mark, is_last=is_last)
        said, self._held = (self._held, "") if self._is_said else ("", self._held)
        return [part for part in ((thought, True), (said, False)) if part[0]]

    def _find_begin(self, *, is_last: bool) -> bool:
        """Decide whether the answer begins with thoughts; False while that is open."""
        text = self._held.lstrip()
        self._mark = next((mark for mark in self._marks if text.startswith(mark.begin)), None)
        if self._mark is None and not is_last and any(mark.begin.startswith(text) for mark in self._marks):
            return False
        self._is_said = self._mark is None
        return True

    def _take_thought(self, mark: ThoughtMark, *, is_last: bool) -> str:
        """Take off what is certain to be thoughts, the marks at their end included."""
        whole = mark.end or mark.begin
        at = self._held.find(whole)
        if at < 0:
            return self._take(len(self._held) - (0 if is_last else _begun(whole, self._held)))
        end = at + len(whole)
        text = self._held[end:].lstrip()
        if not is_last and len(text) < len(mark.after) and mark.after.startswith(text):
            return self._take(at)  # the mark is kept until it is known what follows it
        self._is_said = True
        follows = mark.after and text.startswith(mark.after)
        return self._take(len(self._held) - len(text) + len(mark.after) if follows else end)

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken


def _is_at_begin(prompt: str, mark: ThoughtMark) -> bool:
    return prompt.rstrip().endswith(mark.begin)


def _is_within(prompt: str, mark: ThoughtMark) -> bool:
    return prompt.rfind(mark.begin) > prompt.rfind(mark.end)


def _begun(mark: str, text: str) -> int:
    """Return the length of the longest end of a text that begins a mark, and is not all of it."""
    return next(length for length in range(len(mark) - 1, -1, -1) if text.endswith(mark[:length]))


def without_marks(thoughts: str, marks: Sequence[ThoughtMark] = KNOWN_MARKS) -> str:
    """Return thoughts as a message keeps them: without the marks around them and the lines of these."""
    for mark in marks:
        text = thoughts.strip()
        if text.startswith(mark.begin):
            thoughts = text.removeprefix(mark.begin)
            break
    for mark in marks:
        text = thoughts.rstrip().removesuffix(mark.after).rstrip()
        if mark.end and text.endswith(mark.end):
            thoughts = text.removesuffix(mark.end)
            break
    return thoughts.strip("\n") if thoughts.strip() else ""


def answer_message(thoughts: str, said: str, marks: Sequence[ThoughtMark] = KNOWN_MARKS) -> dict[str, str]:
    """Return an assistant's message; the template decides whether it shows the thoughts again."""
    reasoning = without_marks(thoughts, marks)
    if not reasoning:
        return {"role": "assistant", "content": said}
    return {"role": "assistant", "content": said.lstrip("\n"), "reasoning_content": reasoning}
