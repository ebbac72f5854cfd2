"""`Throughput`: tokens per second, MFU and remaining time, measured over the steps. A resumed run starts again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nextword.data.batch import Batch
from nextword.models.config import ModelConfig
from nextword.training.machine import PeakRate, flops_per_token


@dataclass(frozen=True, kw_only=True)
class StepRate:
    """Speed of one step."""

    tokens_per_second: float
    mfu: float
    """Model FLOPs utilization (PaLM, arXiv:2204.02311): useful operations a second as a share of `PeakRate`."""


class Throughput:
    """Measures the steps of one run."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, *, trained_share: float, num_processes: int) -> None:
        """Measure steps of a model with products in `dtype`; `trained_share`: trained parameters over all of them."""
        self._config, self._trained_share, self._num_processes = config, trained_share, num_processes
        self._peak_rate = PeakRate(dtype)
        self._seconds, self._num_steps = 0.0, 0

    def measure(self, batches: Sequence[Batch], *, num_targets: int, seconds: float) -> StepRate:
        """Count a step over this process's batches; `num_targets` is that of all processes."""
        self._seconds += seconds
        self._num_steps += 1
        num_tokens = self._num_processes * sum(batch.token_ids.size for batch in batches)
        operations = num_tokens * flops_per_token(
            self._config,
            num_seen=1 + float(np.mean([batch.positions.mean() for batch in batches])),
            trained_share=self._trained_share,
            target_share=num_targets / num_tokens,
        )
        rate = operations / seconds / self._num_processes
        return StepRate(tokens_per_second=num_tokens / seconds, mfu=rate / self._peak_rate.at_least(rate))

    def seconds_left(self, num_steps: int) -> float:
        """Estimate the seconds that `num_steps` steps take at the mean speed of this run."""
        return num_steps * self._seconds / self._num_steps
