"""`score_row`: the log-probability of a given token under a row of logits, and the most probable tokens beside it.

In: logits. Out: log-probabilities that are, bit for bit, those of `Backend.score` in C++, by the same operations. So a
text has one probability, whether a server echoes it, `score` shows it, or an evaluation sums it up. They are good to
some 1e-7 nats, and take a fraction of the time of a whole distribution.
"""

from __future__ import annotations

import math

import numpy as np

from nextword.decoding.distribution import Distribution
from nextword.decoding.sampler import ChosenToken
from nextword.decoding.selection import largest
from nextword.decoding.softmax_weights import Row, log_total


class RowScores:
    """Log-probabilities of tokens under one row of logits, (V,). Raises RequestError if it is no distribution."""

    def __init__(self, logits: Row) -> None:
        highest = float(logits.max())
        if not math.isfinite(highest):
            Distribution.from_logits(logits)  # says what is wrong with it
        self._logits, self._highest = logits, highest
        self._log_total = log_total(logits, highest=highest)

    def log_prob(self, token_id: int) -> float:
        """Return the natural logarithm of a token's probability."""
        return -(self._log_total + (self._highest - float(self._logits[token_id])))

    def most_probable(self, count: int) -> list[tuple[int, float]]:
        """Return the most probable tokens, best first, with their log-probabilities; of equal ones the lower id."""
        positions = largest(self._logits, count)
        ranked = positions[np.argsort(-self._logits[positions], kind="stable")].tolist()
        return [(token_id, self.log_prob(token_id)) for token_id in ranked]


def score_row(logits: Row, token_id: int, *, num_alternatives: int = 0) -> ChosenToken:
    """Return a given token with its log-probability and the most probable ones, as `score_token` does."""
    scores = RowScores(logits)
    alternatives = scores.most_probable(num_alternatives) if num_alternatives else []
    if all(other != token_id for other, _ in alternatives):
        alternatives.append((token_id, scores.log_prob(token_id)))
    return ChosenToken(token_id, scores.log_prob(token_id), tuple(alternatives))
