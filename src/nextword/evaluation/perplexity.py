"""Perplexity of a text under the `sliding` convention (textbook eq. 10.7): token ids in, a report out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nextword.errors import RequestError
from nextword.evaluation.scoring import score_window
from nextword.evaluation.windows import sliding_windows
from nextword.inference.backend import Backend


@dataclass(frozen=True, kw_only=True)
class PerplexityReport:
    """How well a model predicts a text: the sum of nats and the counts, kept apart, and what follows from them."""

    total_nats: float
    """Surprisal of all scored tokens together."""
    num_tokens: int
    """Scored tokens."""
    context: int
    """Tokens in a window."""
    stride: int
    """Tokens from the start of a window to the start of the next."""

    @property
    def nats_per_token(self) -> float:
        """Mean negative log-likelihood."""
        return self.total_nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """exp(nats per token); inf where no float is as large."""
        return math.exp(self.nats_per_token) if self.nats_per_token < 709 else math.inf


def sliding_perplexity(
    backend: Backend, token_ids: Sequence[int], *, context: int | None = None, stride: int | None = None
) -> PerplexityReport:
    """Score a text, its first token as context only. `context`: None for the model's; `stride`: None for the context.

    Raises RequestError for fewer than two tokens, a context larger than the model's, or a stride out of range.
    """
    context = backend.max_seq_len if context is None else context
    stride = context if stride is None else stride
    if len(token_ids) < 2:
        raise RequestError(f"the text has {len(token_ids)} tokens: at least two are needed, the first is context")
    if context > backend.max_seq_len:
        raise RequestError(f"context = {context}: the model attends to at most {backend.max_seq_len} tokens")
    nats = [
        score_window(backend, token_ids[window.start : window.stop], num_scored=window.num_scored)
        for window in sliding_windows(len(token_ids), context=context, stride=stride)
    ]
    return PerplexityReport(
        total_nats=math.fsum(value for window in nats for value in window),
        num_tokens=sum(len(window) for window in nats),
        context=context,
        stride=stride,
    )
