"""Measure the speed of matrix products on this machine, by dtype; which dtype is faster differs between processors."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nextword.models.config import ModelConfig
from nextword.models.weights import weight_shapes
from nextword.training.recipe import Precision

_SIZE = 1536
"""Rows and columns of a measured product: large enough for a constant rate, done in a fraction of a second."""
_SMALL_SIZE, _LONGEST = 128, 1.0
"""A product of this size is measured where the large one would take more seconds than that."""
_TRIALS, _SMALL_TRIALS = 3, 20
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@functools.cache
def peak_rate(dtype: torch.dtype) -> float:
    """Measure the floating-point operations a second of a large matrix product, the best of a few trials."""
    _rate(dtype)
    return max(_rate(dtype) for _ in range(_TRIALS))


def _rate(dtype: torch.dtype, size: int | None = None) -> float:
    """Measure one product."""
    size = _size(dtype) if size is None else size
    left = torch.ones(size, size, dtype=dtype)
    start = time.perf_counter()
    torch.mm(left, left)
    return 2 * size**3 / (time.perf_counter() - start)


@functools.cache
def _size(dtype: torch.dtype) -> int:
    """Return the size of products to measure: without instructions for bfloat16, a large one can take ten seconds."""
    with _one_thread():
        rate = max(_rate(dtype, _SMALL_SIZE) for _ in range(_SMALL_TRIALS))
    return _SIZE if _LONGEST * rate > 2 * _SIZE**3 else _SMALL_SIZE


def layer_seconds(dtype: torch.dtype) -> float:
    """Time the products of a small linear layer forward and backward, the best of many trials.

    All three count: for a dtype without instructions PyTorch has fast code for some layouts, and none for others.
    """
    weight = torch.ones(_SMALL_SIZE, _SMALL_SIZE, dtype=dtype)
    seconds = []
    with _one_thread():
        for _ in range(_SMALL_TRIALS):
            start = time.perf_counter()
            for left, right in ((weight, weight.t()), (weight, weight), (weight.t(), weight)):
                torch.mm(left, right)
            seconds.append(time.perf_counter() - start)
    return min(seconds)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread.

    Beside other programs, two can wait for each other a thousand times as long as a small product takes.
    """
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


class PeakRate:
    """Best rate measured during a run; a single trial can be slowed down by other programs."""

    def __init__(self, dtype: torch.dtype, *, seconds_between_trials: float = 30.0) -> None:
        self._dtype, self._between = dtype, seconds_between_trials
        self._best, self._tried = peak_rate(dtype), time.monotonic()

    def at_least(self, rate: float) -> float:
        """Return the best rate, at least `rate`, which a step has reached; measure again from time to time."""
        if time.monotonic() - self._tried > self._between:
            self._best = max(self._best, _rate(self._dtype))
            self._tried = time.monotonic()
        self._best = max(self._best, rate)
        return self._best


def likely_dtype(precision: Precision) -> torch.dtype:
    """Return the dtype of a precision; for auto the one with the faster large products, float32 if they are equal."""
    return max(DTYPES.values(), key=peak_rate) if precision == "auto" else DTYPES[precision]


def flops_per_token(
    config: ModelConfig, *, num_seen: float, trained_share: float = 1.0, target_share: float = 1.0
) -> float:
    """Count the floating-point operations of a training step per token, which attends to `num_seen` tokens on average.

    Two for each weight of a matrix that the token meets forward, two for the gradient of what went in, two for that of
    what is trained; the output head only for the share of the tokens that have a target; attention by the same count.
    """
    shapes = weight_shapes(config)
    head = config.vocab_size * config.hidden_size
    tables = head if config.is_tied else 2 * head
    if config.rope is None:
        tables += config.max_seq_len * config.hidden_size
    used = 1.0 if config.experts is None else config.experts.per_token / config.experts.count
    matrices = -tables + sum(
        shape[0] * shape[1] * (used if ".experts." in name else 1.0)
        for name, shape in shapes.items()
        if len(shape) == 2
    )
    attention = 2 * config.num_layers * config.num_heads * config.head_dim * num_seen
    return (4 + 2 * trained_share) * (matrices + target_share * head) + 6 * attention
