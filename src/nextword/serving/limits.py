"""`Limits`: bounds of what one client can ask for, and of what waits; `/props` shows them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypedDict

from nextword.checks import checked_fields
from nextword.errors import RequestError


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of requests and of the queue. Raises RequestError for one that is not above 0."""

    max_body_bytes: int = 10_000_000
    """Bytes of a request's body."""
    max_bodies_bytes: int = 100_000_000
    """Bytes of the bodies of all requests that are being read or answered."""
    max_header_bytes: int = 16_384
    """Bytes of a request's address and headers."""
    max_prompts: int = 128
    """Prompts of one request."""
    max_n: int = 16
    """Completions of one prompt."""
    max_logprobs: int = 20
    """Alternatives beside each token."""
    max_stops: int = 64
    """Stop strings, and stop tokens, of one request."""
    max_stop_length: int = 256
    """Characters of a stop string."""
    max_logit_biases: int = 1024
    """Tokens of a logit bias."""
    max_messages: int = 2048
    """Messages of one conversation."""
    max_tools: int = 128
    """Tools of one request."""
    max_json_depth: int = 64
    """Nesting of a request's JSON."""
    max_queue: int = 256
    """Completions that wait for their prompts to be computed."""
    max_queue_tokens: int = 65_536
    """Tokens of the prompts that wait."""
    max_wait: float = 600.0
    """Seconds that the queue may take by the estimate for a request to enter it."""
    deadline: float = 600.0
    """Seconds within which a request is computed."""
    drain: float = 30.0
    """Seconds that running requests have after the signal to end."""
    max_connections: int = 1024
    """Connections open at the same time."""
    read_timeout: float = 30.0
    """Seconds within which a request's body arrives."""
    write_timeout: float = 60.0
    """Seconds within which a client reads what is written to it."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise RequestError(f"{field.name} = {value}: must be above 0")


DEFAULT_LIMITS = Limits()


class LimitOptions(TypedDict, total=False):
    """The fields of `Limits` as keywords, none of which must be given."""

    max_body_bytes: int
    max_bodies_bytes: int
    max_header_bytes: int
    max_prompts: int
    max_n: int
    max_logprobs: int
    max_stops: int
    max_stop_length: int
    max_logit_biases: int
    max_messages: int
    max_tools: int
    max_json_depth: int
    max_queue: int
    max_queue_tokens: int
    max_wait: float
    deadline: float
    drain: float
    max_connections: int
    read_timeout: float
    write_timeout: float
