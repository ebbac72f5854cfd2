"""Ours: the native backend, called directly."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import nextword
from benchmarks.peers.side import Prompts, Scored, Scoring, Stepwise
from nextword.inference.backend import Chunk
from nextword.inference.prefill import prefill_chunks

if TYPE_CHECKING:  # `nextword.load` imports it, beside other work
    from nextword.inference.engine import Engine


class NextwordBackend(Stepwise, Scoring):
    """Native backend with one sequence of the KV cache for each prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._backend = engine, engine.backend
        self._cache_ids: list[int] = []

    def prepare(self, num_sequences: int, num_positions: int) -> None:
        """Make sequences that do not reuse earlier prompts."""
        for cache_id in self._cache_ids:
            self._backend.close_cache(cache_id)
        self._cache_ids = [self._backend.open_cache() for _ in range(num_sequences)]

    def prefill(self, prompts: Prompts) -> list[int]:
        """Prefill in chunks, as the engine does."""
        token_ids = []
        for cache_id, prompt in zip(self._cache_ids, prompts, strict=True):
            for chunk in prefill_chunks(cache_id, prompt, 0, num_logits=1):
                (logits,) = self._backend.step([chunk])
            token_ids.append(int(logits[-1].argmax()))
        return token_ids

    def step(self, token_ids: Sequence[int]) -> list[int]:
        """Run a chunk of one token for each sequence."""
        chunks = [Chunk(cache_id, [token_id], 1) for cache_id, token_id in zip(self._cache_ids, token_ids, strict=True)]
        return [int(logits[-1].argmax()) for logits in self._backend.step(chunks)]

    def score(self, token_ids: Sequence[int]) -> Scored:
        """Score a window as `nextword perplexity` does."""
        from nextword.evaluation.scoring.batches import score_windows  # for scoring alone, which no start waits for
        from nextword.evaluation.scoring.windows import Window

        start = time.perf_counter()
        (scores,) = score_windows(self._engine, [Window(0, token_ids, len(token_ids) - 1)])
        nats = float(scores.nats.sum())
        return Scored(time.perf_counter() - start, nats)


def load(path: str, threads: int, isa: str = "") -> NextwordBackend:
    """The native backend of a model, with an instruction set; its tokenizer is loaded, too, as the peers do."""
    os.environ["NEXTWORD_ISA"] = isa
    return NextwordBackend(nextword.load(path, backend="native", num_threads=threads).engine)
