"""`LongRopeBackend`: texts of models with LongRoPE, which rotate otherwise beyond their original context.

The published rule goes by the length of a text: up to the original context all its positions are rotated by one set of
angles, in a longer text all of them by another. So a text that outgrows the original context is computed again, once,
as transformers' `generate` does it. The logits of a position are those of a text that ends there; they do not depend
on how the text came in, nor on what follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar

import numpy as np

from nextword.inference.backend import Backend, Chunk, Logits, TokenScores
from nextword.inference.prefill import prefill_chunks
from nextword.models.config import ModelConfig
from nextword.models.rope import LongRopeScaling

Rows = TypeVar("Rows")


class TwoKindsBackend(Backend, Protocol):
    """A backend that rotates by the angles for short texts or by those for long ones, as a text is opened."""

    def open_cache(self, prompt: Sequence[int] = (), *, is_long: bool = False) -> int:
        """As `Backend.open_cache`; only texts of the same kind share anything."""


def rotate_by_length(backend: TwoKindsBackend, config: ModelConfig) -> Backend:
    """The backend, with texts that go over to LongRoPE's other angles where the model has such."""
    scaling = None if config.rope is None else config.rope.scaling
    if not isinstance(scaling, LongRopeScaling) or scaling.original_max_seq_len >= config.max_seq_len:
        return backend
    if scaling.short_factors == scaling.long_factors:
        return backend
    return LongRopeBackend(backend, original_max_seq_len=scaling.original_max_seq_len)


@dataclass(eq=False)
class _Text:
    """A text, and where it stands in the backend's cache."""

    cache_id: int
    is_long: bool
    token_ids: list[int]


class LongRopeBackend:
    """Wraps a backend whose texts rotate in one of two ways, and chooses the way by their length."""

    def __init__(self, inner: TwoKindsBackend, *, original_max_seq_len: int) -> None:
        self._inner = inner
        self._original = original_max_seq_len
        self._texts: dict[int, _Text] = {}
        self._new_ids = count()

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""
        return self._inner.vocab_size

    @property
    def max_seq_len(self) -> int:
        """Positions that one text may have."""
        return self._inner.max_seq_len

    @property
    def max_positions(self) -> int:
        """Positions that all open texts may have together: half, since those that outgrow are there twice meanwhile."""
        return self._inner.max_positions // 2

    def open_cache(self, prompt: Sequence[int] = ()) -> int:
        """The handle of a new place in the KV cache, where a beginning of `prompt` (never all) may stand already.

        It is computed as a long text from its first token on if the prompt will be one.
        """
        return self._keep(self._open(prompt, is_long=len(prompt) > self._original))

    def cache_length(self, cache_id: int) -> int:
        """Positions that stand in a place."""
        return len(self._texts[cache_id].token_ids)

    def fork_cache(self, cache_id: int) -> int:
        """The handle of a copy, which then goes its own way."""
        text = self._texts[cache_id]
        return self._keep(_Text(self._inner.fork_cache(text.cache_id), text.is_long, list(text.token_ids)))

    def close_cache(self, cache_id: int) -> None:
        """Give a place back."""
        self._inner.close_cache(self._texts.pop(cache_id).cache_id)

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its text; one (num_logits, vocab_size) float32 array for each chunk, in order."""
        return [np.concatenate(parts) for parts in self._run(chunks, self._inner.step)]

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """As `step`, but of each row of logits only what it says of a target; `num_logits` targets for each chunk."""
        rest = iter([target for of_chunk in targets for target in of_chunk])

        def run(parts: Sequence[Chunk]) -> list[TokenScores]:
            return self._inner.score(parts, [[next(rest) for _ in range(part.num_logits)] for part in parts])

        return [_joined(parts) for parts in self._run(chunks, run)]

    def _run(self, chunks: Sequence[Chunk], run: Callable[[Sequence[Chunk]], list[Rows]]) -> list[list[Rows]]:
        """What `run` gives for the parts of each chunk. If it fails, all texts are as before."""
        made: list[_Text] = []
        try:
            parts = [self._parts(self._texts[chunk.cache_id], chunk, made) for chunk in chunks]
            rows = iter(run([part for of_chunk in parts for _, part in of_chunk]))
        except BaseException:
            for text in made:
                self._inner.close_cache(text.cache_id)
            raise
        for chunk, of_chunk in zip(chunks, parts, strict=True):
            self._grow(chunk, [text for text, _ in of_chunk])
        return [[next(rows) for _ in of_chunk] for of_chunk in parts]

    def _parts(self, text: _Text, chunk: Chunk, made: list[_Text]) -> list[tuple[_Text, Chunk]]:
        """The tokens within the original context and those beyond it, each with the text of its kind that it continues.

        Where that is not there it is computed, and added to `made`. The last one is what the text is from then on.
        """
        num_within = min(max(self._original - len(text.token_ids), 0), len(chunk.token_ids))
        within, beyond = list(chunk.token_ids[:num_within]), list(chunk.token_ids[num_within:])
        num_logits = min(chunk.num_logits, len(beyond))
        parts = []
        if chunk.num_logits > num_logits or not beyond:
            # Without logits, a prompt that will be long goes on as it began.
            is_long = text.is_long and chunk.num_logits == 0
            short = text if text.is_long == is_long else self._compute(text.token_ids, made, is_long=is_long)
            parts.append((short, Chunk(short.cache_id, within, chunk.num_logits - num_logits)))
        if beyond:
            long = text if text.is_long else self._compute([*text.token_ids, *within], made, is_long=True)
            rest = [*within, *beyond] if text.is_long else beyond
            parts.append((long, Chunk(long.cache_id, rest, num_logits)))
        return parts

    def _compute(self, token_ids: list[int], made: list[_Text], *, is_long: bool) -> _Text:
        """Another text of these tokens."""
        text = self._open(token_ids, is_long=is_long)
        made.append(text)
        for chunk in prefill_chunks(text.cache_id, token_ids, len(text.token_ids), num_logits=0):
            self._inner.step([chunk])
        return text

    def _grow(self, chunk: Chunk, texts: list[_Text]) -> None:
        """Let the last of these texts take the place of what the chunk has continued."""
        old, new = self._texts[chunk.cache_id], texts[-1]
        new.token_ids = [*old.token_ids, *chunk.token_ids]
        self._texts[chunk.cache_id] = new
        for text in {old, *texts} - {new}:
            self._inner.close_cache(text.cache_id)

    def _open(self, prompt: Sequence[int], *, is_long: bool) -> _Text:
        cache_id = self._inner.open_cache(prompt, is_long=is_long)
        return _Text(cache_id, is_long, list(prompt[: self._inner.cache_length(cache_id)]))

    def _keep(self, text: _Text) -> int:
        cache_id = next(self._new_ids)
        self._texts[cache_id] = text
        return cache_id


def _joined(parts: Sequence[TokenScores]) -> TokenScores:
    """The rows of all parts."""
    columns = zip(*(dataclasses.astuple(part) for part in parts), strict=True)
    return TokenScores(*(np.concatenate(column) for column in columns))
