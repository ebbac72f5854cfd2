"""OpenVINO GenAI, which reads GGUF files itself: its continuous-batching pipeline, stepped as a server would."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import openvino
import openvino_genai

from benchmarks.peers.side import Prompts, Stepwise

MAX_STEP_TOKENS = 2**16
"""Token limit above that of all prompts together, so that all are prefilled in one step."""


class OpenVinoPipeline(Stepwise):
    """A pipeline with paged attention, which was faster here than its other attention in all cases."""

    def __init__(self, pipeline: openvino_genai.ContinuousBatchingPipeline) -> None:
        self._pipeline = pipeline
        self._request_ids = itertools.count()
        self._handles: list[openvino_genai.GenerationHandle] = []

    def prepare(self, num_sequences: int, num_positions: int) -> None:
        """Drop requests that have not finished."""
        for handle in self._handles:
            handle.cancel()
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        self._max_length = num_positions + 1

    def prefill(self, prompts: Prompts) -> list[int]:
        """Prefill one request for each prompt, all in one step."""
        config = openvino_genai.GenerationConfig(max_length=self._max_length, ignore_eos=True, do_sample=False)
        tensors = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts]
        self._handles = [
            self._pipeline.add_request(request_id, tensor, config)
            for tensor, request_id in zip(tensors, self._request_ids, strict=False)
        ]
        return self.step([])

    def step(self, token_ids: Sequence[int]) -> list[int]:
        """Run a step; the pipeline appends the tokens that it chose itself."""
        self._pipeline.step()
        outputs = [next(iter(handle.read().values())) for handle in self._handles]
        return [output.generated_ids[-1] for output in outputs]


def load(path: str, threads: int) -> OpenVinoPipeline:
    """A GGUF file."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = MAX_STEP_TOKENS
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return OpenVinoPipeline(openvino_genai.ContinuousBatchingPipeline(path, scheduler, "CPU", settings))
