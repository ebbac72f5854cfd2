"""`ChatReply`: the answer of `/v1/chat/completions`, streamed or whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nextword.inference.sequence import Request, TextPiece
from nextword.serving.asked import ChatAsked
from nextword.serving.errors import ApiError
from nextword.serving.growing_answer import GrowingAnswer
from nextword.serving.logprobs import TokenNames, chat_logprobs
from nextword.serving.replies import DONE, Identity, by_choice, prompt_logprobs
from nextword.serving.usage import usage
from nextword.text.tokenizer import Tokenizer
from nextword.text.tool_calls import CallDelta, joined_calls


class ChatReply:
    """Choices of one conversation's next message."""

    last_event = DONE

    def __init__(self, asked: ChatAsked, request: Request, tokenizer: Tokenizer, identity: Identity) -> None:
        self._asked, self._request = asked, request
        self._names = TokenNames(tokenizer, as_ids=asked.return_tokens_as_token_ids)
        self._identity = identity
        self._answers = [GrowingAnswer(request, tokenizer) for _ in range(asked.params.n)]

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield the role of each choice."""
        for index in range(self._asked.params.n):
            chunk = self._chunk(index, {"role": "assistant", "content": ""})
            yield chunk if index else {**chunk, **self._prompt_ids()}

    def chunks(self, prompt_index: int, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yield the text as a chunk, and the end as one with an empty delta."""
        answer = self._answers[piece.index]
        delta = _delta(*answer.push(piece))
        scores = self._logprobs(piece)
        if delta or scores or (self._asked.return_token_ids and piece.tokens):
            yield self._chunk(piece.index, delta or {"content": ""}, logprobs=scores, **self._token_ids(piece))
        if piece.finish_detail is not None:
            yield self._chunk(piece.index, {}, **answer.ending(piece), seed=self._request.seed)

    def closing(self) -> Iterator[dict[str, Any]]:
        """Yield the usage if it was asked for."""
        if self._asked.include_usage:
            known = self._identity.fields("chat.completion.chunk")
            yield {**known, "choices": [], "usage": self._usage()}

    def progress(self, progress: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield a chunk without choices."""
        yield {**self._identity.fields("chat.completion.chunk"), "choices": [], "prompt_progress": progress}

    def failing(self, error: ApiError) -> Iterator[dict[str, Any]]:
        """Yield an error."""
        yield error.body()

    def whole(self, pieces: Sequence[tuple[int, TextPiece]]) -> dict[str, Any]:
        """Return the answer for all pieces together."""
        choices = []
        for _, piece in by_choice(pieces, [self._request]):
            answer = self._answers[piece.index]
            choices.append(
                {
                    "index": piece.index,
                    "message": _message(*answer.push(piece)),
                    "logprobs": self._logprobs(piece),
                    **answer.ending(piece),
                    "seed": self._request.seed,
                    **self._token_ids(piece),
                }
            )
        known = self._identity.fields("chat.completion")
        scores = {} if self._asked.prompt_logprobs is None else {"prompt_logprobs": self._prompt_logprobs()}
        return {**known, "choices": choices, "usage": self._usage(), **scores, **self._prompt_ids()}

    def _chunk(self, index: int, delta: dict[str, Any], **others: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **others}
        unknown = {"usage": None} if self._asked.include_usage else {}
        return {**self._identity.fields("chat.completion.chunk"), "choices": [choice], **unknown}

    def _logprobs(self, piece: TextPiece) -> dict[str, Any] | None:
        count = self._asked.params.logprobs
        return None if count is None or not piece.tokens else chat_logprobs(piece, self._names, count=count)

    def _prompt_logprobs(self) -> list[dict[str, Any] | None]:
        return prompt_logprobs(self._request, self._names, count=self._asked.prompt_logprobs or 0)

    def _usage(self) -> dict[str, Any]:
        return usage([self._request], num_reasoning_tokens=sum(one.num_reasoning_tokens for one in self._answers))

    def _prompt_ids(self) -> dict[str, Any]:
        """Return the prompt's token ids, which a stream has in its first chunk."""
        return {"prompt_token_ids": self._request.prompt_token_ids} if self._asked.return_token_ids else {}

    def _token_ids(self, piece: TextPiece) -> dict[str, Any]:
        return {"token_ids": [one.token_id for one in piece.tokens]} if self._asked.return_token_ids else {}


def _delta(texts: dict[str, str], calls: Sequence[CallDelta]) -> dict[str, Any]:
    """Return what a chunk adds to a message."""
    found: list[dict[str, Any]] = []
    for index, parts in itertools.groupby(calls, lambda call: call.index):
        entry: dict[str, Any] = {"index": index, "function": {"arguments": ""}}
        for part in parts:
            if part.begins is not None:
                function = {"name": part.begins.name, "arguments": ""}
                entry |= {"id": part.begins.id, "type": "function", "function": function}
            entry["function"]["arguments"] += part.arguments
        found.append(entry)
    return {**texts, "tool_calls": found} if found else {**texts}


def _message(texts: dict[str, str], calls: Sequence[CallDelta]) -> dict[str, Any]:
    """Return a whole message; its content is null where there are calls alone."""
    found = [call.as_message_part() for call in joined_calls(calls)]
    message = {"role": "assistant", "content": None if found else "", "refusal": None, **texts}
    return {**message, "tool_calls": found} if found else message
