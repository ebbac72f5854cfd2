"""`score_continuations`: the probability of continuations of prompts; token ids in, log-probabilities out.

A common prefix of a batch's prompts is computed once, and a prompt once for all its continuations: their sequences in
the KV cache are forks. It handles token ids only and samples nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.decoding.row_scores import RowScores
from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS, Backend, Chunk, Logits
from nextword.inference.cache_budget import forked_positions
from nextword.inference.engine import Engine
from nextword.inference.prefill import PREFILL_CHUNK, prefill_chunks

_BATCH_PROMPTS = 32
_BATCH_TOKENS = 2 * PREFILL_CHUNK
"""Tokens of a batch besides the prompts' common prefix: enough for matrix products at full speed."""


@dataclass(frozen=True)
class Continuations:
    """A prompt with the continuations to score; neither may be empty."""

    prompt: Sequence[int]
    continuations: Sequence[Sequence[int]]

    @property
    def num_positions(self) -> int:
        """Number of KV cache positions that the prompt and its forks may need."""
        tails = [len(continuation) - 1 for continuation in self.continuations if len(continuation) > 1]
        return forked_positions(len(self.prompt), [0, *tails])


@dataclass(frozen=True)
class ContinuationScore:
    """Probability of a continuation given its prompt."""

    log_probs: npt.NDArray[np.float64]
    """Log-probability in nats of each of its tokens, given all tokens before it."""
    is_greedy: bool
    """True if greedy decoding would generate it: each of its tokens is the most probable one."""

    @property
    def log_prob(self) -> float:
        """Log-probability of the whole continuation, in nats."""
        return float(self.log_probs.sum())


def score_continuations(engine: Engine, items: Iterable[Continuations]) -> Iterator[list[ContinuationScore]]:
    """Yield the scores of each item's continuations, in order; neighbours share the computation of a common prefix.

    Raises RequestError for an empty prompt or continuation, and for one beyond the context or the KV cache.
    """
    for batch in _batches(items, engine.backend):
        with engine.reserve(_num_positions(batch)) as backend, contextlib.ExitStack() as caches:
            scores = _score_batch(_OpenCaches(backend, caches), batch)
        yield from scores


def common_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the longest common prefix of two sequences of token ids."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _batches(items: Iterable[Continuations], backend: Backend) -> Iterator[list[Continuations]]:
    """Group neighbouring items into batches that are computed together."""
    batch: list[Continuations] = []
    num_tokens = 0
    for item in items:
        _check(item, backend)
        num_shared = common_prefix_length(batch[0].prompt, item.prompt) if batch else 0
        num_own = len(item.prompt) - num_shared + sum(map(len, item.continuations))
        is_full = len(batch) == _BATCH_PROMPTS or num_tokens + num_own > _BATCH_TOKENS
        if batch and (is_full or _num_positions([*batch, item]) > backend.max_positions):
            yield batch
            batch, num_tokens = [], 0
        batch.append(item)
        num_tokens += num_own
    if batch:
        yield batch


def _check(item: Continuations, backend: Backend) -> None:
    if not item.prompt or not item.continuations or not all(item.continuations):
        raise RequestError("an empty prompt or continuation has no probability: give at least one token of each")
    longest = len(item.prompt) + max(map(len, item.continuations)) - 1
    if longest > backend.max_seq_len:
        raise RequestError(f"a prompt and its continuation have {longest} tokens, the context {backend.max_seq_len}")


def _num_positions(batch: Sequence[Continuations]) -> int:
    """Return the number of KV cache positions that a batch may need."""
    last_page_of_prefix = PAGE_POSITIONS if len(batch) > 1 else 0
    return sum(item.num_positions for item in batch) + last_page_of_prefix


class _OpenCaches:
    """Sequences in the KV cache that are closed when the batch ends."""

    def __init__(self, backend: Backend, caches: contextlib.ExitStack) -> None:
        self.backend = backend
        self._caches = caches

    def open(self, prompt: Sequence[int]) -> int:
        return self._keep(self.backend.open_cache(prompt))

    def fork(self, cache_id: int) -> int:
        return self._keep(self.backend.fork_cache(cache_id))

    def _keep(self, cache_id: int) -> int:
        self._caches.callback(self.backend.close_cache, cache_id)
        return cache_id


class _Tail(NamedTuple):
    """A continuation, and the handle of a fork of its prompt."""

    cache_id: int
    continuation: Sequence[int]


def _score_batch(caches: _OpenCaches, batch: Sequence[Continuations]) -> list[list[ContinuationScore]]:
    prompts = [list(item.prompt) for item in batch]
    cache_ids = _open_prompts(caches, prompts)
    first_rows = _prefill(caches.backend, cache_ids, prompts)
    tails = [
        _Tail(caches.fork(cache_id), continuation)
        for cache_id, item in zip(cache_ids, batch, strict=True)
        for continuation in item.continuations
        if len(continuation) > 1
    ]
    later = iter(_score_tails(caches.backend, tails))
    return [_continuation_scores(item, row, later) for item, row in zip(batch, first_rows, strict=True)]


def _continuation_scores(
    item: Continuations, row: Logits, later: Iterator[ContinuationScore]
) -> list[ContinuationScore]:
    """Score first tokens by the logits after the prompt, (1, V); join them with the tails of longer continuations."""
    of_row = RowScores(row[0])
    scores = []
    for continuation in item.continuations:
        log_probs = np.array([of_row.log_prob(continuation[0])])
        first = ContinuationScore(log_probs, int(row[0].argmax()) == continuation[0])
        scores.append(_joined(first, next(later)) if len(continuation) > 1 else first)
    return scores


def _open_prompts(caches: _OpenCaches, prompts: Sequence[list[int]]) -> list[int]:
    """Open a sequence for each prompt; all of them fork from their common prefix."""
    shared = prompts[0][: _shared_prefix_length(prompts)]
    if not shared:
        return [caches.open(prompt) for prompt in prompts]
    prefix = caches.open(shared)
    for chunk in prefill_chunks(prefix, shared, caches.backend.cache_length(prefix), num_logits=0):
        caches.backend.step([chunk])
    return [caches.fork(prefix) for _ in prompts]


def _shared_prefix_length(prompts: Sequence[list[int]]) -> int:
    """Return the length of the common prefix of several prompts, shorter than each of them."""
    if len(prompts) == 1:
        return 0
    in_common = common_prefix_length(min(prompts), max(prompts))  # all others sort between these two, so they share it
    return min(in_common, *(len(prompt) - 1 for prompt in prompts))


def _prefill(backend: Backend, cache_ids: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[Logits]:
    """Prefill the prompts together; return the logits after each, (1, V)."""
    chunks = [
        list(prefill_chunks(cache_id, prompt, backend.cache_length(cache_id), num_logits=1))
        for cache_id, prompt in zip(cache_ids, prompts, strict=True)
    ]
    rows: dict[int, Logits] = {}
    for index in range(max(map(len, chunks))):
        step = [of_one[index] for of_one in chunks if index < len(of_one)]
        for chunk, logits in zip(step, backend.step(step), strict=True):
            if chunk.num_logits:
                rows[chunk.cache_id] = logits
    return [rows[cache_id] for cache_id in cache_ids]


def _score_tails(backend: Backend, tails: Sequence[_Tail]) -> list[ContinuationScore]:
    """Score all but the first token of each continuation."""
    chunks = [Chunk(tail.cache_id, tail.continuation[:-1], len(tail.continuation) - 1) for tail in tails]
    targets = [tail.continuation[1:] for tail in tails]
    scores = backend.score(chunks, targets) if tails else []
    return [ContinuationScore(-one.nats, bool((one.ranks == 1).all())) for one in scores]


def _joined(first: ContinuationScore, rest: ContinuationScore) -> ContinuationScore:
    return ContinuationScore(np.concatenate([first.log_probs, rest.log_probs]), first.is_greedy and rest.is_greedy)
