"""CTranslate2 with int8 weights. It has no call for one step: each token's time comes from its callback."""

from __future__ import annotations

import json
import time
from pathlib import Path

import ctranslate2

from benchmarks.peers.side import Prompts, Side, Timed


class CTranslate2Generator(Side):
    """A converted model, with its vocabulary, since prompts have to be given as text of tokens."""

    def __init__(self, generator: ctranslate2.Generator, vocabulary: list[str]) -> None:
        self._generator = generator
        self._vocabulary = vocabulary

    def begin(self, prompts: Prompts, num_steps: int) -> Timed:
        """Run `Side.begin` and all steps after it, whose times `advance` returns."""
        self._prompts = [[self._vocabulary[token_id] for token_id in prompt] for prompt in prompts]
        start = time.perf_counter()
        self._times, self._token_ids = self._generate(num_steps + 1)
        self._position = 0
        return Timed(self._times[0] - start, self._token_ids[0])

    def advance(self, num_steps: int) -> Timed:
        """Implement `Side.advance`."""
        first, self._position = self._position, self._position + num_steps
        seconds = self._times[self._position] - self._times[first]
        return Timed(seconds / num_steps, self._token_ids[self._position])

    def _generate(self, num_tokens: int) -> tuple[list[float], list[int]]:
        """Return the time of each token of the last sequence, and the tokens of the first."""
        times: list[float] = []

        def on_token(result: ctranslate2.GenerationStepResult) -> bool:
            if result.batch_id == len(self._prompts) - 1:
                times.append(time.perf_counter())
            return False

        results = self._generator.generate_batch(
            self._prompts,
            max_length=num_tokens,
            min_length=num_tokens,
            include_prompt_in_result=False,
            callback=on_token,
        )
        return times, results[0].sequences_ids[0]


def load(path: str, threads: int) -> CTranslate2Generator:
    """A converted folder."""
    generator = ctranslate2.Generator(path, device="cpu", compute_type="int8", intra_threads=threads)
    return CTranslate2Generator(generator, json.loads((Path(path) / "vocabulary.json").read_text()))
