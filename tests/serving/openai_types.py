"""Checks what the server answers by the types of OpenAI's own client, strictly: each field has its type there.

Streamed completions are left out: their type has no null for a reason that is yet to come, which OpenAI sends. So are
those with a prompt's log-probabilities, the first of which is null.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pydantic
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

_TYPES: dict[tuple[str, bool], Any] = {
    ("/v1/completions", False): Completion,
    ("/v1/chat/completions", False): ChatCompletion,
    ("/v1/chat/completions", True): ChatCompletionChunk,
    ("/v1/responses", False): Response,
    ("/v1/responses", True): ResponseStreamEvent,
}
"""Type by route, and by whether the answer is a chunk of a stream."""


def check_types(path: str, value: Any, *, is_chunk: bool) -> None:
    """Raise ValidationError for an answer that OpenAI's types do not have."""
    if (path, is_chunk) in _TYPES and not _has_null(value):
        _adapter(path, is_chunk).validate_json(json.dumps(value), strict=True)


def _has_null(value: Any) -> bool:
    scores = [choice.get("logprobs") or {} for choice in value.get("choices", ())]
    return any(None in one.get("token_logprobs", ()) for one in scores)


@functools.cache
def _adapter(path: str, is_chunk: bool) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(_TYPES[path, is_chunk])
