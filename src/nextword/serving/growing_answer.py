"""`GrowingAnswer`: an answer while it grows, each piece told apart into thoughts, text, and calls of tools."""

from __future__ import annotations

from typing import Any

from nextword.inference.generation import thought_splitter
from nextword.inference.sequence import Request, TextPiece
from nextword.serving.replies import ending
from nextword.text.thoughts import without_marks
from nextword.text.tokenizer import Tokenizer
from nextword.text.tool_calls import CallDelta


class GrowingAnswer:
    """A message while it grows: the text of each piece as what is thought, what is said, and calls of tools."""

    def __init__(self, request: Request, tokenizer: Tokenizer) -> None:
        assert request.thought_marks is not None, "only answers have thoughts"
        self._marks = request.thought_marks.marks
        self._splitter = thought_splitter(request, tokenizer)
        self._calls = None if request.tool_use is None else request.tool_use.splitter()
        self._thoughts = self._reasoning = ""
        self._has_content = self._has_calls = False
        self.num_reasoning_tokens = 0
        """Tokens of its thoughts, the marks around them included."""

    def push(self, piece: TextPiece) -> tuple[dict[str, str], list[CallDelta]]:
        """Append a piece; return the texts that it adds to the message, by name, and the parts of calls."""
        was_thinking = self._splitter.is_thinking
        said, is_last, calls = "", piece.finish_detail is not None, list[CallDelta]()
        for part, is_thought in self._splitter.push(piece.text, is_last=is_last):
            self._thoughts, said = (self._thoughts + part, said) if is_thought else (self._thoughts, said + part)
        if was_thinking or self._splitter.is_thinking:
            self.num_reasoning_tokens += len(piece.tokens)
        if self._calls is not None:
            said, calls = self._calls.push(said, is_last=is_last)
        whole = without_marks(self._thoughts, self._marks)
        reasoning, self._reasoning = whole[len(self._reasoning) :], whole
        if whole and not self._has_content:
            said = said.lstrip("\n")
        self._has_content = self._has_content or bool(said)
        self._has_calls = self._has_calls or bool(calls)
        texts = (("reasoning_content", reasoning), ("content", said))
        return {name: text for name, text in texts if text}, calls

    def ending(self, piece: TextPiece) -> dict[str, Any]:
        """Return what a choice says of its end; calls that are complete are a reason of their own."""
        found = ending(piece)
        return (
            {**found, "finish_reason": "tool_calls"} if self._has_calls and found["finish_reason"] == "stop" else found
        )
