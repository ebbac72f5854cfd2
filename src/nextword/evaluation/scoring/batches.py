"""Windows in, the scores of their tokens out; short windows run together on the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from nextword.errors import RequestError
from nextword.evaluation.scoring.windows import Window
from nextword.inference.backend import Backend, Chunk, TokenScores

T = TypeVar("T")

_BATCH_TOKENS = 512
"""Tokens of a batch of short windows; a longer window runs alone. Larger batches are no faster."""


def score_windows(backend: Backend, windows: Iterable[Window]) -> Iterator[TokenScores]:
    """Yield the scores of each window's scored tokens, in order. Raises RequestError for NaN logits."""
    for batch in batches(windows, lambda window: window):
        yield from score_batch(backend, batch)


def batches(items: Iterable[T], window_of: Callable[[T], Window | None]) -> Iterator[list[T]]:
    """Group items whose windows run together; an item without a window counts as one token, so that groups end."""
    batch: list[T] = []
    num_tokens = 0
    for item in items:
        window = window_of(item)
        length = 1 if window is None else len(window.token_ids)
        if batch and num_tokens + length > _BATCH_TOKENS:
            yield batch
            batch, num_tokens = [], 0
        batch.append(item)
        num_tokens += length
    if batch:
        yield batch


def score_batch(backend: Backend, windows: Iterable[Window]) -> list[TokenScores]:
    """Score some windows in one step of the backend. Raises RequestError for NaN logits."""
    chunks: list[Chunk] = []
    try:
        targets = []
        for window in windows:
            chunks.append(Chunk(backend.open_cache(), window.token_ids[:-1], window.num_scored))
            targets.append(window.scored)
        scores = backend.score(chunks, targets) if chunks else []
    finally:
        for chunk in chunks:
            backend.close_cache(chunk.cache_id)
    if any(np.isnan(of_window.nats).any() for of_window in scores):
        raise RequestError("the model's logits are no numbers: its weights are damaged, or too large for these floats")
    return scores
