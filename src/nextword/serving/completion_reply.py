"""`CompletionReply`: the answer of `/v1/completions`, streamed or whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nextword.inference.sequence import Request, TextPiece
from nextword.serving.asked import CompletionAsked
from nextword.serving.errors import ApiError
from nextword.serving.logprobs import TokenNames, completion_logprobs, prompt_piece
from nextword.serving.replies import (
    DONE,
    Identity,
    by_choice,
    ending,
    joined,
    prompt_logprobs,
    scored_prompt,
    without_end,
)
from nextword.serving.usage import usage
from nextword.text.tokenizer import Tokenizer


class CompletionReply:
    """Choices in the order of the prompts: index = prompt x n + completion."""

    last_event = DONE

    def __init__(
        self, asked: CompletionAsked, requests: Sequence[Request], tokenizer: Tokenizer, identity: Identity
    ) -> None:
        self._asked, self._requests, self._tokenizer = asked, requests, tokenizer
        self._names = TokenNames(tokenizer, as_ids=asked.return_tokens_as_token_ids)
        self._fields = identity.fields("text_completion")
        self._lengths: dict[int, int] = defaultdict(int)
        """Characters that each choice has streamed."""

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield nothing: a completion begins with its text."""
        yield from ()

    def chunks(self, prompt_index: int, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yield the text as a chunk, and the end as one of its own."""
        index = self._index(prompt_index, piece)
        if self._asked.params.echo and index not in self._lengths:
            yield self._chunk(prompt_index, self._echoed(prompt_index, piece.index))
        if piece.text or piece.tokens:
            yield self._chunk(prompt_index, without_end(piece))
        if piece.finish_detail is not None:
            yield self._chunk(prompt_index, TextPiece(piece.index, "", piece.num_tokens, piece.finish_detail))

    def closing(self) -> Iterator[dict[str, Any]]:
        """Yield the usage if it was asked for."""
        if self._asked.include_usage:
            yield {**self._fields, "choices": [], "usage": usage(self._requests)}

    def progress(self, progress: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield a chunk without choices."""
        yield {**self._fields, "choices": [], "prompt_progress": progress}

    def failing(self, error: ApiError) -> Iterator[dict[str, Any]]:
        """Yield an error."""
        yield error.body()

    def whole(self, pieces: Sequence[tuple[int, TextPiece]]) -> dict[str, Any]:
        """Return the answer for all pieces together."""
        choices = []
        for prompt_index, piece in by_choice(pieces, self._requests):
            parts = [self._echoed(prompt_index, piece.index)] if self._asked.params.echo else []
            choice = self._choice(prompt_index, joined([*parts, piece]), offset=0)
            choices.append({**choice, **self._prompt_ids(prompt_index)})
        return {**self._fields, "choices": choices, "usage": usage(self._requests)}

    def _index(self, prompt_index: int, piece: TextPiece) -> int:
        return prompt_index * self._asked.params.n + piece.index

    def _echoed(self, prompt_index: int, index: int) -> TextPiece:
        request = self._requests[prompt_index]
        return prompt_piece(index, scored_prompt(request), self._tokenizer, shown=request.shown_token_ids)

    def _chunk(self, prompt_index: int, piece: TextPiece) -> dict[str, Any]:
        index = self._index(prompt_index, piece)
        first = {} if index in self._lengths else self._prompt_ids(prompt_index)
        choice = {**self._choice(prompt_index, piece, offset=self._lengths[index]), **first}
        self._lengths[index] += len(piece.text)
        unknown = {"usage": None} if self._asked.include_usage else {}
        return {**self._fields, "choices": [choice], **unknown}

    def _prompt_ids(self, prompt_index: int) -> dict[str, Any]:
        """Return the prompt's token ids, which a stream has in the first chunk of a choice."""
        token_ids = self._requests[prompt_index].prompt_token_ids
        return {"prompt_token_ids": token_ids} if self._asked.return_token_ids else {}

    def _choice(self, prompt_index: int, piece: TextPiece, *, offset: int) -> dict[str, Any]:
        request = self._requests[prompt_index]
        count = self._asked.params.logprobs
        scores = None
        if count is not None and piece.tokens:
            scores = completion_logprobs(piece, self._names, count=count, offset=offset)
        choice = {
            "index": self._index(prompt_index, piece),
            "text": piece.text,
            "logprobs": scores,
            **ending(piece),
        }
        if self._asked.return_token_ids:
            choice["token_ids"] = [token.token_id for token in piece.tokens]
        if piece.finish_detail is not None:
            choice["seed"] = request.seed
        if self._asked.prompt_logprobs is not None:
            choice["prompt_logprobs"] = prompt_logprobs(request, self._names, count=self._asked.prompt_logprobs)
        return choice
