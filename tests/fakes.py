"""Stand-ins for slow parts: `HashBackend` computes logits from a hash of all tokens of a sequence."""

from __future__ import annotations

import itertools
import sys
import zlib
from collections.abc import Sequence

import numpy as np

from nextword.inference.backend import Chunk, Logits, TokenScores


class HashBackend:
    """A backend whose logits follow from every token of the text, so that forks and mixed-up texts show."""

    def __init__(self, *, vocab_size: int, max_seq_len: int = 64, max_positions: int = sys.maxsize) -> None:
        self.vocab_size = vocab_size
        self.max_seq_len = max_seq_len
        self.max_positions = max_positions
        self.adapter_names: tuple[str, ...] = ()
        self.is_batch_invariant = True
        self.threads = None
        self.weight_bytes = 0
        self.tokens_computed = 0
        self.most_drafted = 0
        """Tokens of a draft that a step may hold."""
        self.steps = 0
        self.num_opened = 0
        """Sequences opened or forked up to now."""
        self.caches: dict[int, list[int]] = {}
        """The texts of the open caches."""
        self._new_ids = itertools.count()
        self._settled: dict[int, int] = {}

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None) -> int:
        return self._keep([])

    def cache_length(self, cache_id: int) -> int:
        return len(self.caches[cache_id])

    def fork_cache(self, cache_id: int) -> int:
        return self._keep(list(self.caches[cache_id]))

    def close_cache(self, cache_id: int) -> None:
        del self.caches[cache_id]

    def draft_limit(self, cache_id: int) -> int:
        return min(self.most_drafted, self.max_seq_len - len(self.caches[cache_id]) - 1)

    def truncate_cache(self, cache_id: int, length: int) -> None:
        assert self._settled.get(cache_id, 0) <= length <= len(self.caches[cache_id]), (
            "more is taken back than was tentative"
        )
        del self.caches[cache_id][length:]

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        assert len({chunk.cache_id for chunk in chunks}) == len(chunks), "one text twice in a step"
        self.steps += 1
        return [self._run(chunk) for chunk in chunks]

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        return [score_rows(rows, of_chunk) for rows, of_chunk in zip(self.step(chunks), targets, strict=True)]

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        """The logits that follow a text."""
        random = np.random.default_rng(zlib.crc32(np.asarray(token_ids, np.int64).tobytes()))
        return (3 * random.standard_normal(self.vocab_size)).astype(np.float32)

    def _run(self, chunk: Chunk) -> Logits:
        text = self.caches[chunk.cache_id]
        text.extend(chunk.token_ids)
        assert chunk.token_ids, "an empty chunk"
        assert len(text) <= self.max_seq_len, "a text longer than the context"
        assert chunk.num_logits <= len(chunk.token_ids)
        self.tokens_computed += len(chunk.token_ids)
        self._settled[chunk.cache_id] = len(text) - chunk.num_drafted
        ends = range(len(text) - chunk.num_logits + 1, len(text) + 1)
        rows = [self.logits_after(text[:end]) for end in ends]
        return np.stack(rows) if rows else np.empty((0, self.vocab_size), np.float32)

    def _keep(self, text: list[int]) -> int:
        self.num_opened += 1
        cache_id = next(self._new_ids)
        self.caches[cache_id] = text
        return cache_id


def score_rows(logits: Logits, targets: Sequence[int]) -> TokenScores:
    """What rows of logits say of a target each, written out in float64."""
    exact = logits.astype(np.float64)
    log_probs = exact - exact.max(axis=1, keepdims=True)
    log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
    order = np.argsort(-exact, axis=1, kind="stable")
    ranks = [1 + list(row).index(target) for row, target in zip(order, targets, strict=True)]
    entropies = -(np.exp(log_probs) * log_probs).sum(axis=1)
    chosen = log_probs[np.arange(len(targets)), np.asarray(targets, dtype=np.intp)]
    return TokenScores(-chosen, entropies, np.array(ranks, np.int32), order[:, 0].astype(np.int32))
