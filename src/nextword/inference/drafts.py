"""Drafts: guesses of a sequence's next tokens, which the model verifies in one step.

A step of several tokens costs little more than a step of one, because reading the weights is what takes the time. A
drafted token is kept if it is the one that the sampler chooses from the model's own logits at that position, with that
position's random number; the first that is not ends the draft. So no draft changes a text, a log-probability or a
finish reason: drafts change the number of steps alone. This is the speculative decoding of Leviathan et al. 2023, with
the drafter-invariant choice of Daliri, Musco and Suresh 2024.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

MOST_DRAFTED = 63
"""Maximum number of tokens of a draft."""
_LENGTHS = (0, 1, 2, 3, 5, 7, 11, 15, 23, 31, 47, MOST_DRAFTED)
"""Lengths of a draft that are considered."""


@dataclass(frozen=True)
class Draft:
    """Tokens that may follow."""

    token_ids: Sequence[int]
    agreed: int
    """Number of the sequence's last tokens that spoke for them, 0 to 16."""


NO_DRAFT = Draft((), 0)


class DraftSource(Protocol):
    """Proposer of drafts for one sequence."""

    def append(self, token_id: int) -> None:
        """Append the next token of the sequence."""

    def propose(self, limit: int) -> Draft:
        """Return up to `limit` tokens that may follow."""


class StepCosts:
    """Time of a step by its number of rows, over the time of a step of one row: measured while requests run."""

    _ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    _EXPECTED = (1.0, 1.15, 1.25, 1.35, 1.6, 1.9, 2.6, 3.2, 4.2, 5.2, 7.0, 9.0)
    """Before anything was measured."""
    _WEIGHT = 0.1
    """Share of a new measurement in the moving average."""

    def __init__(self) -> None:
        self._ratios = list(self._EXPECTED)
        self._one_row: float | None = None
        """Seconds of a step of one row."""

    def of(self, rows: int) -> float:
        """Return the cost of a step, in steps of one row."""
        if rows > self._ROWS[-1]:
            return self._ratios[-1] * rows / self._ROWS[-1]
        return float(np.interp(rows, self._ROWS, self._ratios))

    @contextlib.contextmanager
    def measuring(self, rows: int | None) -> Iterator[None]:
        """Measure the step in the block; None: one that tells nothing, since it prefills as well."""
        begin = time.perf_counter()
        yield
        if rows is not None:
            self.measured(rows, time.perf_counter() - begin)

    def measured(self, rows: int, seconds: float) -> None:
        """Take note of a step."""
        if rows == 1:
            self._one_row = seconds if self._one_row is None else self._averaged(self._one_row, seconds)
        elif self._one_row is not None and 1 < rows <= self._ROWS[-1]:
            nearest = min(range(1, len(self._ROWS)), key=lambda index: abs(math.log(self._ROWS[index] / rows)))
            self._ratios[nearest] = self._averaged(self._ratios[nearest], seconds / self._one_row)

    def _averaged(self, old: float, new: float) -> float:
        """Return the moving average; a step that was held up by another program counts as twice the average at most."""
        return old + self._WEIGHT * (min(new, 2 * old) - old)


class Acceptance:
    """Share of drafted tokens that were kept, by the number of tokens that spoke for them."""

    _EXPECTED = (0.3, 0.5, 0.75, 0.9, 0.97)
    """For 0, 1 to 3, 4 to 7, 8 to 15 and 16 agreeing tokens, before anything was drafted."""
    _WEIGHT = 0.1

    def __init__(self) -> None:
        self._shares = list(self._EXPECTED)

    def of(self, agreed: int) -> float:
        """Return the probability that the next drafted token is kept."""
        return self._shares[self._class_of(agreed)]

    def observe(self, draft: Draft, num_kept: int) -> None:
        """Take note of the fate of a draft: all kept tokens, and the first that was not."""
        for index in range(min(num_kept + 1, len(draft.token_ids))):
            kind = self._class_of(draft.agreed + index)
            self._shares[kind] += self._WEIGHT * ((index < num_kept) - self._shares[kind])

    @staticmethod
    def _class_of(agreed: int) -> int:
        return sum(agreed >= least for least in (1, 4, 8, 16))


class Drafter:
    """Proposes drafts for one sequence, as long as they are likely to save time."""

    _PROBE_AFTER = 16
    """Proposals in a row that were not worth a draft, after which one token is drafted to see whether it is kept."""

    def __init__(self, sources: Sequence[DraftSource]) -> None:
        self._sources = sources
        self._acceptance = Acceptance()
        self._num_passed = 0
        self.num_drafted = 0
        self.num_kept = 0

    def append(self, token_id: int) -> None:
        """Append the next token of the sequence."""
        for source in self._sources:
            source.append(token_id)

    def propose(self, limit: int, costs: StepCosts, *, num_other_rows: int) -> Draft:
        """Return a draft of at most `limit` tokens for a step that has `num_other_rows` rows of other sequences."""
        if limit <= 0:
            return NO_DRAFT
        found = next((draft for source in self._sources if (draft := source.propose(limit)).token_ids), NO_DRAFT)
        if not found.token_ids:
            return NO_DRAFT
        length = self._best_length(found, costs, num_other_rows)
        if length == 0:
            self._num_passed += 1
            length = int(self._num_passed >= self._PROBE_AFTER)
        if length:
            self._num_passed = 0
        return Draft(found.token_ids[:length], found.agreed)

    def observe(self, draft: Draft, num_kept: int) -> None:
        """Take note of how many tokens of a draft were kept."""
        self._acceptance.observe(draft, num_kept)
        self.num_drafted += len(draft.token_ids)
        self.num_kept += num_kept

    def _best_length(self, draft: Draft, costs: StepCosts, num_other_rows: int) -> int:
        """Return the length with the most expected tokens for its cost."""
        longest, rows = len(draft.token_ids), num_other_rows + 1
        chances = [self._acceptance.of(draft.agreed + index) for index in range(longest)]
        tokens = [rows, *(rows + np.cumsum(np.cumprod(chances)))]  # expected of a draft of 0, 1, 2, ... tokens
        lengths = sorted({min(length, longest) for length in _LENGTHS})
        return max(lengths, key=lambda length: tokens[length] / costs.of(rows + length))
