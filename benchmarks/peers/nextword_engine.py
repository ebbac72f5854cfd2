"""Ours: the whole engine, as `nextword.load` gives it to a user: scheduling, drawing and text, too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import nextword
from benchmarks.peers.side import Prompts, Side, Timed

if TYPE_CHECKING:  # `nextword.load` imports what it needs, beside other work
    from nextword.inference.sequence import Request
    from nextword.language_model import LanguageModel


class NextwordEngine(Side):
    """Greedy requests that run together."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._engine = model.engine
        self._requests: list[Request] = []

    def begin(self, prompts: Prompts, num_steps: int) -> Timed:
        """Implement `Side.begin`; prompts are prefilled beside texts that grow, so some are steps ahead."""
        from nextword.decoding.params import SamplingParams
        from nextword.inference.engine import Engine

        for request in self._requests:
            self._engine.cancel(request)
        self._engine = Engine(self._model.engine.backend, self._model.tokenizer, max_sequences=len(prompts))
        num_tokens = self._engine.backend.max_seq_len - max(map(len, prompts))  # none may end before all are timed
        params = SamplingParams(temperature=0.0, max_tokens=num_tokens, min_tokens=num_tokens)
        start = time.perf_counter()
        self._requests = [self._engine.submit(prompt, params) for prompt in prompts]
        while not self._requests[-1].sequences:
            self._engine.step()
        return Timed(time.perf_counter() - start, self._token_ids()[0])

    def advance(self, num_steps: int) -> Timed:
        """Implement `Side.advance`."""
        start = time.perf_counter()
        for _ in range(num_steps):
            self._engine.step()
        return Timed((time.perf_counter() - start) / num_steps, self._token_ids()[-1])

    def _token_ids(self) -> list[int]:
        return self._requests[0].sequences[0].token_ids


def load(path: str, threads: int) -> NextwordEngine:
    """A model with its engine."""
    return NextwordEngine(nextword.load(path, backend="native", num_threads=threads))
