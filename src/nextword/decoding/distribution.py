"""`Distribution`: the distribution of the next token, with the textbook's operations as methods.

In: one row of logits. Out: reshaped and truncated distributions, and in the end a token id. Knows nothing of requests,
sequences or text (a function may be given that shows a token).

Edges: tokens are ordered by logit, equal ones by the lower id. Softmax weights (`softmax_weights.py`) are whole
numbers, so sums are exact in any order: the smallest set with mass p is the same however it is found. The rounding
removes tokens some 2**-36 times as probable as the first.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextword.checks import checked_arguments
from nextword.decoding.log_softmax import log_softmax
from nextword.decoding.params import checked
from nextword.decoding.random_stream import RANDOM_BITS, fresh_seed, random_numbers
from nextword.decoding.selection import Positions, largest, position_at, smallest_set
from nextword.decoding.softmax_weights import softmax_weights
from nextword.errors import RequestError

if TYPE_CHECKING:
    from nextword.decoding.distribution_table import DistributionTable

SMALLEST_TEMPERATURE = 1e-30
"""Smallest temperature: below it float32 quotients overflow, and sampling is greedy far above it already."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Distribution:
    """Distribution of the next token over the tokens that no truncation has removed.

    `from_logits` makes one; operations return new ones. `len(distribution)` is the number of remaining tokens, never 0.
    """

    logits: NDArray[np.float32]
    """Logits of the remaining tokens, by ascending token id, finite, not divided by the temperature."""
    divisor: float
    """The temperature, or the product of those applied."""
    vocab_size: int
    """Number of tokens before truncation."""
    kept: Positions | None
    """Ids of the remaining tokens, ascending; None: the whole vocabulary."""
    token_text: Callable[[int], str] | None
    """Name of a token in tables, or None."""

    @classmethod
    def from_logits(cls, logits: ArrayLike, *, token_text: Callable[[int], str] | None = None) -> Distribution:
        """Make the softmax of one row of logits, shape (vocab_size,). A logit of -inf removes its token.

        The row is not copied: leave it unchanged while the distribution is in use. `token_text` names tokens in tables.
        Raises RequestError if a logit is NaN or +inf, or if all are -inf.
        """
        try:
            row = np.asarray(logits, dtype=np.float32)
        except (OverflowError, TypeError, ValueError):
            raise RequestError(f"logits = {logits!r:.80}: must be one row of numbers, (vocab_size,)") from None
        if row.ndim != 1 or not row.size:
            raise RequestError(f"logits of shape {row.shape}: must be one row, (vocab_size,)")
        _check_finite_or_removed(row)
        whole = cls(logits=row, divisor=1.0, vocab_size=row.size, kept=None, token_text=token_text)
        return whole._keep(np.flatnonzero(row != -np.inf)) if row.min() == -np.inf else whole

    # Reshaping and truncating

    def temperature(self, temperature: float) -> Distribution:
        """Return softmax(u / temperature): below 1 greedier, above 1 flatter; 0 keeps the most probable token alone."""
        temperature = checked("temperature", temperature)
        if temperature == 0.0:
            return self._keep(np.array([self._top]))
        return dataclasses.replace(self, divisor=max(self.divisor * temperature, SMALLEST_TEMPERATURE))

    def dynamic_temperature(self, low: float, high: float, *, exponent: float = 1.0) -> Distribution:
        """Return softmax(u / T) with T from `low` where one token is sure to `high` where all are alike.

        T = low + (high - low) * (entropy / its maximum) ** exponent, over the remaining tokens.
        """
        if len(self) == 1:
            return self
        share = min(self.entropy / math.log(len(self)), 1.0) ** checked("dynatemp_exponent", exponent)
        return self.temperature(max(low + (high - low) * share, SMALLEST_TEMPERATURE))

    def top_k(self, k: int) -> Distribution:
        """Keep the k most probable tokens; 0 keeps all."""
        k = checked("top_k", k)
        return self if k == 0 or k >= len(self) else self._keep(largest(self.logits, k))

    def top_p(self, p: float) -> Distribution:
        """Keep the smallest set of most probable tokens with mass >= p (Holtzman et al. 2020); 1 keeps all."""
        p = checked("top_p", p)
        if p == 1.0:
            return self
        return self._keep(self._smallest_set(self.logits, p))

    def min_p(self, min_p: float) -> Distribution:
        """Keep tokens at least min_p times as probable as the most probable one; 0 keeps all."""
        min_p = checked("min_p", min_p)
        return self if min_p == 0.0 else self._keep_logits_from(self._top_logit + self.divisor * math.log(min_p))

    def typical(self, p: float) -> Distribution:
        """Keep the smallest set with mass >= p of surprisals nearest the entropy (Meister et al. 2023); 1 keeps all."""
        p = checked("typical_p", p)
        if p == 1.0:
            return self
        nearness = -np.abs(self._log_probs + self.entropy)
        return self._keep(self._smallest_set(nearness, p))

    def epsilon(self, cutoff: float) -> Distribution:
        """Keep tokens with probability >= cutoff (Hewitt et al. 2022); 0 keeps all."""
        cutoff = checked("epsilon_cutoff", cutoff)
        return self if cutoff == 0.0 else self._keep_where(self._log_probs >= math.log(cutoff))

    def eta(self, cutoff: float) -> Distribution:
        """Keep tokens with probability >= min(cutoff, sqrt(cutoff) exp(-entropy)) (Hewitt et al. 2022); 0 keeps all."""
        cutoff = checked("eta_cutoff", cutoff)
        if cutoff == 0.0:
            return self
        return self._keep_where(self._log_probs >= min(math.log(cutoff), math.log(cutoff) / 2 - self.entropy))

    def top_n_sigma(self, n: float) -> Distribution:
        """Keep tokens whose logit is within n standard deviations (of those remaining) of the largest; 0 keeps all.

        The temperature divides distances and deviation alike, so it does not matter here (Tang et al. 2024).
        """
        n = checked("top_n_sigma", n)
        return self if n == 0.0 else self._keep_logits_from(self._top_logit - n * self.logits.std(dtype=np.float64))

    def p_less(self) -> Distribution:
        """Keep tokens with probability >= the sum of all squared probabilities (Tan et al. 2025)."""
        probabilities = np.exp(self._log_probs)
        return self._keep_where(probabilities >= np.square(probabilities).sum())

    def surprisal_up_to(self, bits: float) -> Distribution:
        """Keep tokens whose surprisal is at most this many bits: mirostat's truncation (Basu et al. 2021)."""
        return self._keep_where(self._log_probs >= -bits * math.log(2))

    def xtc(self, threshold: float) -> Distribution:
        """Exclude top choices: of two or more tokens with probability >= threshold keep only the least probable.

        Of equal ones the highest id stays, the last in order. The caller decides at random whether to apply it.
        """
        choices = self._log_probs >= (math.log(threshold) if checked("xtc_threshold", threshold) > 0.0 else -math.inf)
        positions = np.flatnonzero(choices)
        if len(positions) < 2:
            return self
        least = positions[len(positions) - 1 - np.argmin(self.logits[positions][::-1])]
        choices[least] = False
        return self._keep_where(~choices)

    # Choosing a token

    def argmax(self) -> int:
        """Return the most probable token; of equal ones the lowest id."""
        return self._token_id(self._top)

    @checked_arguments
    def sample(self, seed: int | None = None, *, position: int = 0, sample_index: int = 0) -> int:
        """Draw a token: the same for the same seed, position and sample index. None: a fresh seed."""
        seed = fresh_seed() if seed is None else checked("seed", seed)
        return self.draw(random_numbers(seed, position=position, sample_index=sample_index)[0])

    def draw(self, number: int) -> int:
        """Return the token on which `number`, uniform over 0 .. 2**53 - 1, falls among the weights by ascending id.

        Raises RequestError for a number that is not in that range.
        """
        if not isinstance(number, Integral) or not 0 <= number < 1 << RANDOM_BITS:
            raise RequestError(f"number = {number!r}: must be a whole number from 0 to 2**{RANDOM_BITS} - 1")
        weights, total = self._weights_and_total
        return self._token_id(position_at(weights, (number * int(total)) >> RANDOM_BITS))

    # Reading

    def __len__(self) -> int:
        return len(self.logits)

    def __repr__(self) -> str:
        return f"Distribution({len(self)} of {self.vocab_size} tokens, entropy {self.entropy:.3f} nats)"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, line
        from nextword.html.page import Html

        left = f"{len(self):,} of {self.vocab_size:,} tokens, entropy {self.entropy:.3f} nats"
        return block(line(left), Html(self.table()._repr_html_()))

    @property
    def token_ids(self) -> Positions:
        """Ids of the remaining tokens, ascending."""
        return np.arange(self.vocab_size) if self.kept is None else self.kept

    def probabilities(self) -> NDArray[np.float64]:
        """Return the probability of every token, shape (vocab_size,); 0 for those removed."""
        dense = np.zeros(self.vocab_size)
        dense[slice(None) if self.kept is None else self.kept] = np.exp(self._log_probs)
        return dense

    @checked_arguments
    def log_prob(self, token_id: int) -> float:
        """Return the natural logarithm of the token's probability; -inf if it was removed."""
        if not 0 <= token_id < self.vocab_size:
            raise RequestError(f"token id {token_id}: must be from 0 to {self.vocab_size - 1}")
        return float(self.log_probs(np.array([token_id]))[0])

    def log_probs(self, token_ids: Positions) -> NDArray[np.float64]:
        """Return the log-probabilities of several tokens, ids of the vocabulary; -inf for those removed."""
        positions, is_kept = self._positions(token_ids)
        found: NDArray[np.float64] = np.where(is_kept, self._log_probs[positions], -np.inf)
        return found

    def intervals(self, token_ids: Positions) -> NDArray[np.float64]:
        """Return the intervals of [0, 1) on which `draw` takes these tokens, (n, 2); NaN for those removed.

        They follow one another by ascending id. A drawn number is divided by 2**53.
        """
        positions, is_kept = self._positions(token_ids)
        weights, total = self._weights_and_total
        ends = weights.cumsum(dtype=np.float64)
        bounds = np.stack([ends[positions] - weights[positions], ends[positions]], axis=1) / total
        bounds[~is_kept] = np.nan
        return bounds

    @functools.cached_property
    def entropy(self) -> float:
        """Entropy in nats: the expected surprisal of the next token."""
        probabilities = np.exp(self._log_probs)
        np.multiply(probabilities, self._log_probs, where=probabilities > 0.0, out=probabilities)
        return 0.0 - float(probabilities.sum())  # not minus zero where one token is left

    @checked_arguments
    def most_probable(self, n: int) -> list[tuple[int, float]]:
        """Return the n most probable remaining tokens, best first, with their log-probabilities."""
        if n < 0:
            raise RequestError(f"n = {n}: must be a whole number of at least 0")
        positions = largest(self.logits, n)
        ranked = positions[np.argsort(-self.logits[positions], kind="stable")]
        return [(self._token_id(i), float(self._log_probs[i])) for i in ranked]

    @checked_arguments
    def table(self, n: int = 10) -> DistributionTable:
        """Return the n most probable tokens: rank, id, text, probability, log-probability, cumulative probability."""
        from nextword.decoding.distribution_table import DistributionTable, TableRow

        rows, cumulative = [], 0.0
        for rank, (token_id, log_prob) in enumerate(self.most_probable(n), start=1):
            cumulative += math.exp(log_prob)
            text = self.token_text(token_id) if self.token_text else None
            rows.append(TableRow(rank, token_id, text, math.exp(log_prob), log_prob, cumulative))
        return DistributionTable(rows=tuple(rows), num_tokens=len(self))

    # Shared arithmetic

    @functools.cached_property
    def _top(self) -> int:
        return int(self.logits.argmax())

    @property
    def _top_logit(self) -> float:
        return float(self.logits[self._top])

    @functools.cached_property
    def _weights_and_total(self) -> tuple[NDArray[np.float32], float]:
        """exp((u - max u) / temperature) as whole numbers, and their sum."""
        return softmax_weights(self.logits, highest=self._top_logit, divisor=self.divisor, vocab_size=self.vocab_size)

    def _smallest_set(self, keys: NDArray[np.float32] | NDArray[np.float64], p: float) -> Positions:
        weights, total = self._weights_and_total
        return smallest_set(keys, weights, wanted=p * total, total=total)

    @functools.cached_property
    def _log_probs(self) -> NDArray[np.float64]:
        """Log-softmax of the remaining tokens."""
        return log_softmax(self.logits, temperature=self.divisor)

    def _positions(self, token_ids: Positions) -> tuple[Positions, NDArray[np.bool_]]:
        """Return where tokens stand among the remaining ones, and whether they do."""
        if self.kept is None:
            return token_ids, np.ones(len(token_ids), dtype=np.bool_)
        positions = np.minimum(np.searchsorted(self.kept, token_ids), len(self) - 1)
        return positions, self.kept[positions] == token_ids

    def _token_id(self, position: int) -> int:
        return int(position if self.kept is None else self.kept[position])

    def _keep(self, positions: Positions) -> Distribution:
        kept = positions if self.kept is None else self.kept.take(positions)
        return dataclasses.replace(self, logits=self.logits.take(positions), kept=kept)

    def _keep_where(self, stays: NDArray[np.bool_]) -> Distribution:
        """Keep the tokens where `stays` is true; the most probable one alone if there is none."""
        positions = np.flatnonzero(stays)
        return self._keep(positions if len(positions) else np.array([self._top]))

    def _keep_logits_from(self, bound: float) -> Distribution:
        """Keep logits >= bound, compared as if in float64: `bound` is rounded up to the next float32."""
        with np.errstate(over="ignore"):
            nearest = np.float32(bound)
        return self._keep_where(
            self.logits >= (nearest if nearest >= bound else np.nextafter(nearest, np.float32(np.inf)))
        )


def _check_finite_or_removed(row: NDArray[np.float32]) -> None:
    highest = row.max()  # NaN if any is
    if np.isfinite(highest):
        return
    if highest == -np.inf:
        raise RequestError("every token is forbidden (all logits are -inf): allow at least one")
    token_id = int(np.flatnonzero(np.isnan(row) | (row == np.inf))[0])
    raise RequestError(f"the logit of token {token_id} is {row[token_id]}: the model's output is broken")
