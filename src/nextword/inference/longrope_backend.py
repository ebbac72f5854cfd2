"""`LongRopeBackend`: sequences of models with LongRoPE, whose rotation changes beyond their original context.

The published rule goes by the length of a sequence: up to the original context all its positions are rotated by one set
of angles, beyond it all of them by another. So a sequence that outgrows the original context is computed again, once,
as transformers' `generate` does it. The logits of a position are those of a sequence that ends there; they do not
depend on the chunks it came in, nor on what follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar

import numpy as np

from nextword.inference.backend import Backend, Chunk, Logits, Threads, TokenScores
from nextword.inference.prefill import prefill_chunks
from nextword.models.config import ModelConfig
from nextword.models.rope import LongRopeScaling

Rows = TypeVar("Rows")


class ShortLongBackend(Backend, Protocol):
    """Backend that rotates a sequence by LongRoPE's short or long factors, chosen when the sequence is opened."""

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None, is_long: bool = False) -> int:
        """Open a sequence with short or long factors; only sequences with the same factors share a prefix."""


def rotate_by_length(backend: ShortLongBackend, config: ModelConfig) -> Backend:
    """Return the backend, wrapped in a `LongRopeBackend` if the model has LongRoPE with two sets of angles."""
    scaling = None if config.rope is None else config.rope.scaling
    if not isinstance(scaling, LongRopeScaling) or scaling.original_max_seq_len >= config.max_seq_len:
        return backend
    if scaling.short_factors == scaling.long_factors:
        return backend
    return LongRopeBackend(backend, original_max_seq_len=scaling.original_max_seq_len)


@dataclass(eq=False)
class _Sequence:
    """Sequence of the inner backend: its handle, its tokens, and which factors rotate it."""

    cache_id: int
    is_long: bool
    adapter: str | None
    token_ids: list[int]


class LongRopeBackend:
    """Wrapper of a backend with short and long factors that chooses between them by a sequence's length."""

    def __init__(self, inner: ShortLongBackend, *, original_max_seq_len: int) -> None:
        self._inner = inner
        self._original = original_max_seq_len
        self._sequences: dict[int, _Sequence] = {}
        self._new_ids = count()

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""
        return self._inner.vocab_size

    @property
    def max_seq_len(self) -> int:
        """Maximum number of positions of one sequence: the context length."""
        return self._inner.max_seq_len

    @property
    def is_batch_invariant(self) -> bool:
        """True if the inner backend's logits do not depend on the chunks."""
        return self._inner.is_batch_invariant

    @property
    def threads(self) -> Threads | None:
        """Threads of the inner backend."""
        return self._inner.threads

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Names of the adapters that a sequence may run with."""
        return self._inner.adapter_names

    @property
    def max_positions(self) -> int:
        """Half of the inner backend's maximum: sequences are copied as they outgrow the original context."""
        return self._inner.max_positions // 2

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self._inner.weight_bytes

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None) -> int:
        """Open a sequence and return its handle; it may begin with a stored prefix of `prompt`, never all of it.

        If the prompt is longer than the original context, the sequence is a long one from its first token on.
        """
        return self._keep(self._open(prompt, is_long=len(prompt) > self._original, adapter=adapter))

    def cache_length(self, cache_id: int) -> int:
        """Return the number of positions of a sequence."""
        return len(self._sequences[cache_id].token_ids)

    def fork_cache(self, cache_id: int) -> int:
        """Copy a sequence and return the handle of the copy; both grow independently from then on."""
        sequence = self._sequences[cache_id]
        fork = self._inner.fork_cache(sequence.cache_id)
        return self._keep(dataclasses.replace(sequence, cache_id=fork, token_ids=list(sequence.token_ids)))

    def close_cache(self, cache_id: int) -> None:
        """Close a sequence and free its pages."""
        self._inner.close_cache(self._sequences.pop(cache_id).cache_id)

    def draft_limit(self, cache_id: int) -> int:
        """Return how many tokens of a draft the next step may hold; none leads beyond the original context."""
        sequence = self._sequences[cache_id]
        limit = self._inner.draft_limit(sequence.cache_id)
        return limit if sequence.is_long else min(limit, max(self._original - len(sequence.token_ids) - 1, 0))

    def truncate_cache(self, cache_id: int, length: int) -> None:
        """End a sequence at `length`: take back tokens that its last step held as a draft."""
        sequence = self._sequences[cache_id]
        self._inner.truncate_cache(sequence.cache_id, length)
        del sequence.token_ids[length:]

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its sequence; return a (num_logits, vocab_size) float32 array per chunk, in order."""
        return [np.concatenate(parts) for parts in self._run(chunks, self._inner.step)]

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """Append each chunk as `step` does; score a target for each row of logits, `num_logits` targets per chunk."""
        rest = iter([target for of_chunk in targets for target in of_chunk])

        def run(parts: Sequence[Chunk]) -> list[TokenScores]:
            return self._inner.score(parts, [[next(rest) for _ in range(part.num_logits)] for part in parts])

        return [_joined(parts) for parts in self._run(chunks, run)]

    def _run(self, chunks: Sequence[Chunk], run: Callable[[Sequence[Chunk]], list[Rows]]) -> list[list[Rows]]:
        """Apply `run` to the parts of each chunk. If it fails, all sequences are as before."""
        made: list[_Sequence] = []
        try:
            parts = [self._parts(self._sequences[chunk.cache_id], chunk, made) for chunk in chunks]
            rows = iter(run([part for of_chunk in parts for _, part in of_chunk]))
        except BaseException:
            for sequence in made:
                self._inner.close_cache(sequence.cache_id)
            raise
        for chunk, of_chunk in zip(chunks, parts, strict=True):
            self._grow(chunk, [sequence for sequence, _ in of_chunk])
        return [[next(rows) for _ in of_chunk] for of_chunk in parts]

    def _parts(self, sequence: _Sequence, chunk: Chunk, made: list[_Sequence]) -> list[tuple[_Sequence, Chunk]]:
        """Split a chunk at the original context; return each part with the inner sequence that it continues.

        A sequence that does not exist yet is computed and added to `made`. The last one replaces the chunk's sequence.
        """
        num_within = min(max(self._original - len(sequence.token_ids), 0), len(chunk.token_ids))
        within, beyond = list(chunk.token_ids[:num_within]), list(chunk.token_ids[num_within:])
        num_logits = min(chunk.num_logits, len(beyond))
        parts = []
        if chunk.num_logits > num_logits or not beyond:
            # Without logits, a prompt that will be long keeps the factors it began with.
            is_long = sequence.is_long and chunk.num_logits == 0
            is_same = sequence.is_long == is_long
            short = sequence if is_same else self._compute(sequence, [], made, is_long=is_long)
            num_drafted = 0 if beyond else chunk.num_drafted
            parts.append((short, Chunk(short.cache_id, within, chunk.num_logits - num_logits, num_drafted)))
        if beyond:
            long = sequence if sequence.is_long else self._compute(sequence, within, made, is_long=True)
            rest = [*within, *beyond] if sequence.is_long else beyond
            parts.append((long, Chunk(long.cache_id, rest, num_logits, chunk.num_drafted)))
        return parts

    def _compute(self, like: _Sequence, more: list[int], made: list[_Sequence], *, is_long: bool) -> _Sequence:
        """Compute another sequence of the same tokens and some more."""
        token_ids = [*like.token_ids, *more]
        sequence = self._open(token_ids, is_long=is_long, adapter=like.adapter)
        made.append(sequence)
        for chunk in prefill_chunks(sequence.cache_id, token_ids, len(sequence.token_ids), num_logits=0):
            self._inner.step([chunk])
        return sequence

    def _grow(self, chunk: Chunk, sequences: list[_Sequence]) -> None:
        """Replace the sequence that the chunk has continued by the last of these."""
        old, new = self._sequences[chunk.cache_id], sequences[-1]
        new.token_ids = [*old.token_ids, *chunk.token_ids]
        self._sequences[chunk.cache_id] = new
        for sequence in {old, *sequences} - {new}:
            self._inner.close_cache(sequence.cache_id)

    def _open(self, prompt: Sequence[int], *, is_long: bool, adapter: str | None) -> _Sequence:
        cache_id = self._inner.open_cache(prompt, adapter=adapter, is_long=is_long)
        return _Sequence(cache_id, is_long, adapter, list(prompt[: self._inner.cache_length(cache_id)]))

    def _keep(self, sequence: _Sequence) -> int:
        cache_id = next(self._new_ids)
        self._sequences[cache_id] = sequence
        return cache_id


def _joined(parts: Sequence[TokenScores]) -> TokenScores:
    """Join the rows of all parts."""
    columns = zip(*parts, strict=True)
    return TokenScores(*(np.concatenate(column) for column in columns))
