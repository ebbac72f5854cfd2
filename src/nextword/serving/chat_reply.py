"""`ChatReply`: the answer of `/v1/chat/completions`, streamed or whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nextword.inference.generation import thought_splitter
from nextword.inference.sequence import Request, TextPiece
from nextword.serving.asked import ChatAsked
from nextword.serving.logprobs import TokenNames, chat_logprobs
from nextword.serving.replies import Identity, by_choice, ending
from nextword.serving.usage import usage
from nextword.text.thoughts import without_marks
from nextword.text.tokenizer import Tokenizer


class ChatReply:
    """Choices of one conversation's next message."""

    def __init__(self, asked: ChatAsked, request: Request, tokenizer: Tokenizer, identity: Identity) -> None:
        self._asked, self._request = asked, request
        self._names = TokenNames(tokenizer, as_ids=asked.return_tokens_as_token_ids)
        self._identity = identity
        self._answers = [_Answer(request, tokenizer) for _ in range(asked.params.n)]

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield the role of each choice."""
        for index in range(self._asked.params.n):
            yield self._chunk(index, {"role": "assistant", "content": ""})

    def chunks(self, prompt_index: int, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yield the text as a chunk, and the end as one with an empty delta."""
        delta = self._answers[piece.index].push(piece)
        scores = self._logprobs(piece)
        if delta or scores or (self._asked.return_token_ids and piece.tokens):
            yield self._chunk(piece.index, delta or {"content": ""}, logprobs=scores, **self._token_ids(piece))
        if piece.finish_detail is not None:
            yield self._chunk(piece.index, {}, **ending(piece), seed=self._request.seed)

    def closing(self) -> Iterator[dict[str, Any]]:
        """Yield the usage if it was asked for."""
        if self._asked.include_usage:
            known = self._identity.fields("chat.completion.chunk")
            yield {**known, "choices": [], "usage": usage([self._request])}

    def whole(self, pieces: Sequence[tuple[int, TextPiece]]) -> dict[str, Any]:
        """Return the answer for all pieces together."""
        choices = []
        for _, piece in by_choice(pieces, [self._request]):
            message = {"role": "assistant", "content": "", "refusal": None, **self._answers[piece.index].push(piece)}
            choices.append(
                {
                    "index": piece.index,
                    "message": message,
                    "logprobs": self._logprobs(piece),
                    **ending(piece),
                    "seed": self._request.seed,
                    **self._token_ids(piece),
                }
            )
        known = self._identity.fields("chat.completion")
        return {**known, "choices": choices, "usage": usage([self._request])}

    def _chunk(self, index: int, delta: dict[str, Any], **others: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **others}
        unknown = {"usage": None} if self._asked.include_usage else {}
        return {**self._identity.fields("chat.completion.chunk"), "choices": [choice], **unknown}

    def _logprobs(self, piece: TextPiece) -> dict[str, Any] | None:
        count = self._asked.params.logprobs
        return None if count is None or not piece.tokens else chat_logprobs(piece, self._names, count=count)

    def _token_ids(self, piece: TextPiece) -> dict[str, Any]:
        return {"token_ids": [one.token_id for one in piece.tokens]} if self._asked.return_token_ids else {}


class _Answer:
    """A message while it grows: the text of each piece as its parts `content` and `reasoning_content`."""

    def __init__(self, request: Request, tokenizer: Tokenizer) -> None:
        assert request.thought_marks is not None, "only answers have thoughts"
        self._marks = request.thought_marks.marks
        self._splitter = thought_splitter(request, tokenizer)
        self._thoughts = self._reasoning = ""
        self._has_content = False

    def push(self, piece: TextPiece) -> dict[str, str]:
        """Append a piece; return what it adds to the message, without the parts to which it adds nothing."""
        said = ""
        for part, is_thought in self._splitter.push(piece.text, is_last=piece.finish_detail is not None):
            self._thoughts, said = (self._thoughts + part, said) if is_thought else (self._thoughts, said + part)
        whole = without_marks(self._thoughts, self._marks)
        reasoning, self._reasoning = whole[len(self._reasoning) :], whole
        if whole and not self._has_content:
            said = said.lstrip("\n")
        self._has_content = self._has_content or bool(said)
        return {name: text for name, text in (("reasoning_content", reasoning), ("content", said)) if text}
