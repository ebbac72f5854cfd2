"""`score_continuations`: how probable a backend finds continuations of prompts; token ids in, log-probabilities out.

What prompts of a batch have in common at their beginning is computed once, and a prompt once for all its continuations:
their places in the KV cache are forks. It knows no text, and no engine: nothing is drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.decoding.log_softmax import log_normalizers
from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS, Backend, Chunk, Logits
from nextword.inference.cache_budget import forked_positions
from nextword.inference.prefill import PREFILL_CHUNK, prefill_chunks

_BATCH_PROMPTS = 32
_BATCH_TOKENS = 2 * PREFILL_CHUNK
"""Of a batch, what its prompts share left out: enough for the speed of matrix products."""


@dataclass(frozen=True)
class Question:
    """A prompt, and the continuations whose probability is asked for; neither may be empty."""

    prompt: Sequence[int]
    continuations: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Answer:
    """How probable a continuation is."""

    log_probs: npt.NDArray[np.float64]
    """Of each of its tokens, given all before it, in nats."""
    is_greedy: bool
    """Whether greedy decoding would write it: each of its tokens is the most probable one."""

    @property
    def log_prob(self) -> float:
        """Of the whole continuation, in nats."""
        return float(self.log_probs.sum())


class _Tail(NamedTuple):
    """A continuation, and where its prompt stands in the KV cache."""

    cache_id: int
    continuation: Sequence[int]


def score_continuations(backend: Backend, questions: Iterable[Question]) -> Iterator[list[Answer]]:
    """The answers to each question, in order, one for each continuation. Neighbours that begin alike are quick.

    Raises RequestError for an empty prompt or continuation, or one beyond the context.
    """
    for batch in _batches(questions, backend):
        with contextlib.ExitStack() as caches:
            yield from _score_batch(_Places(backend, caches), batch)


def num_equal(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginnings."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _batches(questions: Iterable[Question], backend: Backend) -> Iterator[list[Question]]:
    """Neighbours, as many as are computed together."""
    batch: list[Question] = []
    num_tokens = num_positions = 0
    for question in questions:
        _check(question, backend)
        positions = _positions(question)
        shared = num_equal(batch[0].prompt, question.prompt) if batch else 0
        own = len(question.prompt) - shared + sum(map(len, question.continuations))
        is_full = len(batch) == _BATCH_PROMPTS or num_tokens + own > _BATCH_TOKENS
        if batch and (is_full or num_positions + positions > backend.max_positions):
            yield batch
            batch, num_tokens, num_positions = [], 0, 0
        batch.append(question)
        num_tokens += own
        num_positions += positions
    if batch:
        yield batch


def _check(question: Question, backend: Backend) -> None:
    if not question.prompt or not question.continuations or not all(question.continuations):
        raise RequestError("an empty prompt or continuation has no probability: give at least one token of each")
    longest = len(question.prompt) + max(map(len, question.continuations)) - 1
    if longest > backend.max_seq_len:
        raise RequestError(f"a prompt and its continuation have {longest} tokens, the context {backend.max_seq_len}")


def _positions(question: Question) -> int:
    """Return the positions that a question needs in the KV cache, with the page that the prompts of a batch share."""
    tails = [len(continuation) - 1 for continuation in question.continuations if len(continuation) > 1]
    return forked_positions(len(question.prompt), [0, *tails]) + PAGE_POSITIONS


class _Places:
    """Places in the KV cache that are given back when the batch is done."""

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


def _score_batch(places: _Places, batch: Sequence[Question]) -> Iterator[list[Answer]]:
    prompts = [list(question.prompt) for question in batch]
    cache_ids = _open_prompts(places, prompts)
    first_rows = _prefill(places.backend, cache_ids, prompts)
    tails = [
        _Tail(places.fork(cache_id), continuation)
        for cache_id, question in zip(cache_ids, batch, strict=True)
        for continuation in question.continuations
        if len(continuation) > 1
    ]
    later = iter(_score_tails(places.backend, tails))
    for row, question in zip(first_rows, batch, strict=True):
        normalizer = log_normalizers(row)[0]
        answers = []
        for continuation in question.continuations:
            first = Answer(row[0, continuation[:1]] - normalizer, int(row[0].argmax()) == continuation[0])
            answers.append(_joined(first, next(later)) if len(continuation) > 1 else first)
        yield answers


def _open_prompts(places: _Places, prompts: Sequence[list[int]]) -> list[int]:
    """A place for each prompt, in which the beginning that all have in common stands already."""
    shared = prompts[0][: _num_shared(prompts)]
    if not shared:
        return [places.open(prompt) for prompt in prompts]
    beginning = places.open(shared)
    for chunk in prefill_chunks(beginning, shared, places.backend.cache_length(beginning), num_logits=0):
        places.backend.step([chunk])
    return [places.fork(beginning) for _ in prompts]


def _num_shared(prompts: Sequence[list[int]]) -> int:
    """How many tokens the beginnings of several prompts have in common, the last of none of them included."""
    if len(prompts) == 1:
        return 0
    in_all = num_equal(min(prompts), max(prompts))  # the others lie between, so they begin with it too
    return min(in_all, *(len(prompt) - 1 for prompt in prompts))


def _prefill(backend: Backend, cache_ids: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[Logits]:
    """The logits after each prompt, (1, V)."""
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


def _score_tails(backend: Backend, tails: Sequence[_Tail]) -> list[Answer]:
    """All but the first token of each continuation."""
    chunks = [Chunk(tail.cache_id, tail.continuation[:-1], len(tail.continuation) - 1) for tail in tails]
    targets = [tail.continuation[1:] for tail in tails]
    scores = backend.score(chunks, targets) if tails else []
    return [Answer(-one.nats, bool((one.ranks == 1).all())) for one in scores]


def _joined(first: Answer, rest: Answer) -> Answer:
    return Answer(np.concatenate([first.log_probs, rest.log_probs]), first.is_greedy and rest.is_greedy)
