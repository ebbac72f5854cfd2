"""Which tokens of a text are scored, and with how much context: the `sliding` convention of perplexity.

Token positions in, windows out. Knows neither models nor tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nextword.errors import RequestError


@dataclass(frozen=True)
class Window:
    """Tokens that the model sees together: positions `start` to `stop` of a text, the end not included."""

    start: int
    stop: int
    num_scored: int
    """How many of the last tokens are scored; the ones before are context."""


def sliding_windows(num_tokens: int, *, context: int, stride: int) -> Iterator[Window]:
    """Windows of `context` tokens, moved by `stride`; each scores what none before has scored, never the first token.

    Raises RequestError if the stride is not within 1 to context, or leaves a window nothing before its first token.
    """
    if context < 2:
        raise RequestError(f"context = {context}: a window needs at least 2 tokens, one of them to predict from")
    if not 1 <= stride <= context:
        raise RequestError(f"stride = {stride}: it must be from 1 to the context, {context}, else tokens are left out")
    scored_until = 1
    for start in range(0, num_tokens, stride):
        stop = min(start + context, num_tokens)
        # Without overlap the first token of a window has no context, so it is not scored.
        num_scored = stop - max(scored_until, start + 1)
        if num_scored > 0:
            yield Window(start, stop, num_scored)
        scored_until = stop
        if stop == num_tokens:
            return
