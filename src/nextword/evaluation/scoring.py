"""How surprised a model is by the last tokens of windows: windows in, scores out, as many at once as run well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from nextword.errors import RequestError
from nextword.evaluation.windows import Window
from nextword.inference.backend import Backend, Chunk, TokenScores

T = TypeVar("T")

_TOKENS_AT_ONCE = 512
"""Of short windows; a longer one runs alone. More would not be computed any faster."""


def score_windows(backend: Backend, windows: Iterable[Window]) -> Iterator[TokenScores]:
    """The scores of each window's scored tokens, in order. Raises RequestError if the logits are no numbers."""
    for batch in batches(windows, lambda window: window):
        yield from score_batch(backend, batch)


def batches(items: Iterable[T], window_of: Callable[[T], Window | None]) -> Iterator[list[T]]:
    """Items in groups whose windows run together; an item without one counts as a token, for groups to end."""
    batch: list[T] = []
    num_tokens = 0
    for item in items:
        window = window_of(item)
        length = 1 if window is None else len(window.token_ids)
        if batch and num_tokens + length > _TOKENS_AT_ONCE:
            yield batch
            batch, num_tokens = [], 0
        batch.append(item)
        num_tokens += length
    if batch:
        yield batch


def score_batch(backend: Backend, windows: Iterable[Window]) -> list[TokenScores]:
    """The scores of some windows, computed together. Raises RequestError if the logits are no numbers."""
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
