"""`Reply`: what the answers of all endpoints have in common: identity, choices, finish reasons.

A reply takes the pieces of text as the engine makes them. Streamed, each becomes a chunk; otherwise those of a choice
are joined into one. So both have the same text and the same log-probabilities.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nextword.decoding.sampler import ChosenToken
from nextword.inference.sequence import FINISH_REASONS, Request, TextPiece
from nextword.serving.errors import ApiError
from nextword.serving.logprobs import TokenNames, alternatives_by_id


class Reply(Protocol):
    """An answer while it grows."""

    last_event: bytes
    """Event behind the last chunk of a stream."""

    def opening(self) -> Iterable[dict[str, Any]]:
        """Return the chunks before the first token."""

    def chunks(self, prompt_index: int, piece: TextPiece) -> Iterable[dict[str, Any]]:
        """Return the chunks of a piece of text."""

    def closing(self) -> Iterable[dict[str, Any]]:
        """Return the chunks after the last token."""

    def progress(self, progress: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        """Return the chunks that say how far the prompt is."""

    def failing(self, error: ApiError) -> Iterable[dict[str, Any]]:
        """Return the chunks of an error in the middle of a stream."""

    def whole(self, pieces: Sequence[tuple[int, TextPiece]]) -> dict[str, Any]:
        """Return the answer for all pieces together."""


DONE = b"data: [DONE]\n\n"
"""Last event of the streams of completions and chats."""


@dataclass(frozen=True)
class Identity:
    """Fields that are the same in all chunks of an answer."""

    prefix: str
    """First letters of the id, such as "cmpl-"."""
    model: str
    fingerprint: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def id(self) -> str:
        """The id of the answer."""
        return self.prefix + self.key

    def fields(self, kind: str) -> dict[str, Any]:
        """Return the fields, with the kind of object."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def joined(pieces: Sequence[TextPiece]) -> TextPiece:
    """Return the pieces of one completion as one."""
    last = pieces[-1]
    return TextPiece(
        last.index,
        "".join(piece.text for piece in pieces),
        last.num_tokens,
        last.finish_detail,
        tuple(token for piece in pieces for token in piece.tokens),
        tuple(text for piece in pieces for text in piece.token_texts),
    )


def by_choice(pieces: Sequence[tuple[int, TextPiece]], requests: Sequence[Request]) -> Iterator[tuple[int, TextPiece]]:
    """Yield each completion as one piece with the index of its prompt, in the order of the choices."""
    found: dict[tuple[int, int], list[TextPiece]] = {}
    for prompt_index, piece in pieces:
        found.setdefault((prompt_index, piece.index), []).append(piece)
    for (prompt_index, _), of_choice in sorted(found.items()):
        yield prompt_index, joined(of_choice)


def ending(piece: TextPiece) -> dict[str, Any]:
    """Return what a choice says of its end: OpenAI's reason, and ours beside it."""
    detail = piece.finish_detail
    if detail is None:
        return {"finish_reason": None}
    return {"finish_reason": FINISH_REASONS[detail], "finish_detail": detail}


def without_end(piece: TextPiece) -> TextPiece:
    """Return a piece as if more came: its end has a chunk of its own."""
    return TextPiece(piece.index, piece.text, piece.num_tokens, None, piece.tokens, piece.token_texts)


def prompt_logprobs(request: Request, names: TokenNames, *, count: int) -> list[dict[str, Any] | None]:
    """Return the log-probabilities of the prompt in vLLM's form."""
    tokens, num_ranked = scored_prompt(request), request.params.logprobs or 0
    return alternatives_by_id(tokens, names, count=count, num_ranked=num_ranked)


def scored_prompt(request: Request) -> list[ChosenToken]:
    """Return the prompt's tokens, with log-probabilities where they were asked for; the first never has one."""
    tokens = [ChosenToken(token_id) for token_id in request.prompt_token_ids]
    return [tokens[0], *request.prompt_tokens] if request.scores_prompt else tokens
