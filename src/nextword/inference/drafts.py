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
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from nextword.decoding.grammar import Matcher


MOST_DRAFTED = 63
"""Maximum number of tokens of a draft."""
MOST_AGREED = 16
"""Agreement of a sequence's last tokens with a draft is counted up to here."""
_LENGTHS = (0, 1, 2, 3, 5, 7, 11, 15, 23, 31, 47, MOST_DRAFTED)
"""Lengths of a draft that are considered."""


class Outlook(NamedTuple):
    """Number of tokens that a source could propose next, how sure of them it is, and what they cost."""

    num_tokens: int
    agreed: int
    """Number of the sequence's last tokens that speak for it, up to `MOST_AGREED`."""
    seconds: float = 0.0
    """Time that each token of the draft takes."""


NOTHING = Outlook(0, 0)


class Draft(NamedTuple):
    """Tokens that may follow."""

    token_ids: Sequence[int]
    agreed: int = 0
    """Number of the sequence's last tokens that spoke for the first of them."""
    source: int = 0
    """Number of the source among those of its drafter."""


NO_DRAFT = Draft(())


class DraftSource(Protocol):
    """Proposer of drafts for one sequence."""

    def append(self, token_id: int) -> None:
        """Append the next token of the sequence."""

    def outlook(self, limit: int) -> Outlook:
        """Return what it could propose, at most `limit` tokens; computes none of them."""

    def propose(self, num_tokens: int) -> Sequence[int]:
        """Return tokens that may follow, as many or fewer; called after `outlook` with no more than it said."""

    def close(self) -> None:
        """Give back what it holds for the sequence, which has ended."""


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

    def steps(self, seconds: float) -> float:
        """Return a time in steps of one row; before one was measured, any time is one step."""
        return seconds / self._one_row if self._one_row else float(seconds > 0)

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

    def observe(self, agreed: int, *, is_kept: bool) -> None:
        """Take note of the fate of a drafted token."""
        kind = self._class_of(agreed)
        self._shares[kind] += self._WEIGHT * (is_kept - self._shares[kind])

    @staticmethod
    def _class_of(agreed: int) -> int:
        return sum(agreed >= least for least in (1, 4, 8, 16))


class Drafter:
    """Proposes drafts for one sequence, as long as they are likely to save time."""

    _PROBE_AFTER = 16
    """Proposals in a row that were not worth a draft, after which one token is drafted to see whether it is kept."""

    def __init__(self, sources: Sequence[DraftSource], matcher: Matcher | None = None) -> None:
        """Draft from these sources, of equally good ones the first; `matcher`: of the form that the text must have."""
        self._sources = sources
        self._matcher = matcher
        self._acceptances = [Acceptance() for _ in sources]
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
        plans = []
        for number, source in enumerate(self._sources):
            outlook = source.outlook(limit)
            if outlook.num_tokens:
                rate, length = self._best_length(outlook, self._acceptances[number], costs, num_other_rows)
                plans.append((rate, length, number, outlook.agreed))
        if not plans:
            return NO_DRAFT
        _, length, number, agreed = max(plans, key=lambda plan: plan[0])
        if length == 0:
            self._num_passed += 1
            length = int(self._num_passed >= self._PROBE_AFTER)
        if length == 0:
            return NO_DRAFT
        self._num_passed = 0
        return self._fitting(Draft(self._sources[number].propose(length), agreed, number))

    def observe(self, draft: Draft, num_kept: int) -> None:
        """Take note of how many tokens of a draft were kept: they tell of themselves and of the first that was not."""
        for index in range(min(num_kept + 1, len(draft.token_ids))):
            self._acceptances[draft.source].observe(draft.agreed + index, is_kept=index < num_kept)
        self.num_drafted += len(draft.token_ids)
        self.num_kept += num_kept

    def close(self) -> None:
        """Give back what the sources hold for the sequence, which has ended."""
        for source in self._sources:
            source.close()

    def _fitting(self, draft: Draft) -> Draft:
        """Return the draft up to the first token that the text's form does not allow, which is known to be wrong."""
        num_fitting = len(draft.token_ids) if self._matcher is None else self._matcher.num_fitting(draft.token_ids)
        if num_fitting == len(draft.token_ids):
            return draft
        self._acceptances[draft.source].observe(draft.agreed + num_fitting, is_kept=False)
        return draft._replace(token_ids=draft.token_ids[:num_fitting])

    @staticmethod
    def _best_length(
        outlook: Outlook, acceptance: Acceptance, costs: StepCosts, num_other_rows: int
    ) -> tuple[float, int]:
        """Return the most expected tokens for their cost, and the length of the draft that has them."""
        longest, rows = outlook.num_tokens, num_other_rows + 1
        chances = [acceptance.of(outlook.agreed + index) for index in range(longest)]
        tokens = [rows, *(rows + np.cumsum(np.cumprod(chances)))]  # expected of a draft of 0, 1, 2, ... tokens
        own = costs.steps(outlook.seconds)
        rates = {
            length: float(tokens[length]) / (costs.of(rows + length) + own * length)
            for length in sorted({min(length, longest) for length in _LENGTHS})
        }
        best = max(rates, key=lambda length: rates[length])
        return rates[best], best
