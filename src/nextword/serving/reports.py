"""`Reports`: what an answer holds beside its text, whether it is streamed, and the id of the request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nextword.checks import shown
from nextword.decoding.param_checks import Number
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields, with_param
from nextword.serving.limits import Limits

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Names that a client may give a request."""
FLAGS = ("return_token_ids", "return_tokens_as_token_ids", "timings_per_token", "return_progress")
REPORT_FIELDS = ("stream", "stream_options", "prompt_logprobs", "request_id", *FLAGS)
"""Fields that `read_reports` reads."""


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Fields of both endpoints that change no text."""

    stream: bool = False
    include_usage: bool = False
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False
    prompt_logprobs: int | None = None
    """Number of alternatives beside each token of the prompt; None: it is not scored, or echo shows it."""
    timings_per_token: bool = False
    return_progress: bool = False
    request_id: str | None = None


def read_reports(fields: Fields, limits: Limits) -> dict[str, Any]:
    """Return the fields of `Reports`. Raises ApiError naming the field."""
    stream = fields.take("stream", bool, False)
    if fields.has("stream_options") and not stream:
        raise ApiError("stream_options: may be given with stream = true alone", param="stream_options")
    shapes = fields.inner("stream_options", ("include_usage", "include_obfuscation", "continuous_usage_stats"))
    shapes.refuse({"continuous_usage_stats": (False,)})
    shapes.take("include_obfuscation", bool)
    prompt_logprobs = num_alternatives(fields, "prompt_logprobs", limits)
    if prompt_logprobs is not None and stream:
        raise ApiError("prompt_logprobs: are not streamed; ask for a whole answer", param="prompt_logprobs")
    request_id = fields.take("request_id", str)
    if request_id is not None and not REQUEST_ID.fullmatch(request_id):
        message = f"request_id = {shown(request_id)}: must have 1 to 64 letters, digits, or any of . _ -"
        raise ApiError(message, param="request_id")
    flags = {name: fields.take(name, bool, False) for name in FLAGS}
    if flags["return_progress"] and not stream:
        raise ApiError("return_progress: may be given with stream = true alone", param="return_progress")
    return {
        "stream": stream,
        "include_usage": shapes.take("include_usage", bool, False),
        "prompt_logprobs": prompt_logprobs,
        "request_id": request_id,
        **flags,
    }


def num_alternatives(fields: Fields, name: str, limits: Limits) -> int | None:
    """Return a number of alternatives beside each token, None where the field is not there."""
    if not fields.has(name):
        return None
    value: int = with_param(name, Number(int, 0, limits.max_logprobs), name, fields.body[name])
    return value
