"""`Side`: interface of a measured library: prefill prompts, then decode greedily, step by step.

All sides get the same token ids and do the same work. Filling and reading what the library wants is part of the time.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Timed:
    """One measurement."""

    seconds: float
    """Seconds of a prefill until every sequence has its first token; mean seconds of a step."""
    token_id: int
    """The last token of the first sequence."""


@dataclass(frozen=True)
class Scored:
    """A window of a text, all its tokens but the first scored."""

    seconds: float
    nats: float
    """Sum of the surprisals of all scored tokens."""


class Side(ABC):
    """A loaded model."""

    @abstractmethod
    def begin(self, prompts: Prompts, num_steps: int) -> Timed:
        """Forget the sequences before, prefill prompts of one length, with room for so many steps after them."""

    @abstractmethod
    def advance(self, num_steps: int) -> Timed:
        """Write so many tokens more for each sequence, past any end-of-sequence token."""


class Scoring(ABC):
    """A loaded model that is asked how probable texts are."""

    @abstractmethod
    def score(self, token_ids: Sequence[int]) -> Scored:
        """Surprisal of a window of tokens."""


class Stepwise(Side):
    """A side whose steps can be called one by one."""

    @abstractmethod
    def prepare(self, num_sequences: int, num_positions: int) -> None:
        """Make room for so many sequences of so many positions, all empty; not timed."""

    @abstractmethod
    def prefill(self, prompts: Prompts) -> list[int]:
        """The most probable token after each prompt."""

    @abstractmethod
    def step(self, token_ids: Sequence[int]) -> list[int]:
        """Append a token to each sequence; the most probable token after each."""

    def begin(self, prompts: Prompts, num_steps: int) -> Timed:
        """As `Side.begin`."""
        self.prepare(len(prompts), len(prompts[0]) + num_steps)
        start = time.perf_counter()
        self._token_ids = self.prefill(prompts)
        return Timed(time.perf_counter() - start, self._token_ids[0])

    def advance(self, num_steps: int) -> Timed:
        """As `Side.advance`."""
        start = time.perf_counter()
        for _ in range(num_steps):
            self._token_ids = self.step(self._token_ids)
        return Timed((time.perf_counter() - start) / num_steps, self._token_ids[0])
