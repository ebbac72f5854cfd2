"""Windows in, the scores of their tokens out; short windows run together on an engine's backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nextword.errors import RequestError
from nextword.evaluation.scoring.windows import Window
from nextword.inference.backend import Backend, Chunk, TokenScores
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine

T = TypeVar("T")

_BATCH_TOKENS = 512
"""Tokens of a batch of short windows; a longer window runs alone. Larger batches are no faster."""


def score_windows(engine: Engine, windows: Iterable[Window]) -> Iterator[TokenScores]:
    """Yield the scores of each window's scored tokens, in order. Raises RequestError for NaN logits."""
    for batch in batches(windows, lambda window: window):
        yield from score_batch(engine, batch)


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


def score_batch(engine: Engine, windows: Iterable[Window]) -> list[TokenScores]:
    """Score some windows together, as far as the memory goes. Raises RequestError for NaN logits."""
    scores = []
    for group in _fitting(windows, max_positions=engine.backend.max_positions):
        with engine.reserve(sum(map(_num_positions, group))) as backend:
            scores += _score_together(backend, group)
    for of_window in scores:
        require_numbers(~np.isnan(of_window.nats))
    return scores


def require_numbers(are: npt.NDArray[np.bool_]) -> None:
    """Raise RequestError if some of what is computed from logits are no numbers."""
    if not are.all():
        raise RequestError("the model's logits are no numbers: its weights are damaged, or too large for these floats")


def _fitting(windows: Iterable[Window], *, max_positions: int) -> Iterator[list[Window]]:
    """Group windows that fit the KV cache together; one that is larger runs alone."""
    group: list[Window] = []
    for window in windows:
        if group and sum(map(_num_positions, [*group, window])) > max_positions:
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _num_positions(window: Window) -> int:
    """Return the positions of the KV cache that a window needs; its last token is only predicted."""
    return whole_pages(len(window.token_ids) - 1)


def _score_together(backend: Backend, windows: Iterable[Window]) -> list[TokenScores]:
    """Score windows in one step of the backend."""
    chunks: list[Chunk] = []
    try:
        targets = []
        for window in windows:
            chunks.append(Chunk(backend.open_cache(), window.token_ids[:-1], window.num_scored))
            targets.append(window.scored)
        return backend.score(chunks, targets)
    finally:
        for chunk in chunks:
            backend.close_cache(chunk.cache_id)
