"""Scores of SentencePiece vocabularies from ranked merges, and whether they say the same.

SentencePiece joins first the adjacent pair whose union has the best score, whatever its two parts; ranked merges name
the pairs. A vocabulary whose merges are not those of its scores can still give the same tokens for every text.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

Pair = tuple[str, str]


def scores_of_merges(tokens: Sequence[str], merges: Sequence[Pair]) -> list[float]:
    """Return a score for each token: the better, the earlier a merge forms it; the worst for those that none forms."""
    best = _first_ranks(merges)
    return [float(-best.get(token, len(merges))) for token in tokens]


def are_same_merges(merges: Sequence[Pair], by_score: Iterable[Pair]) -> bool:
    """Return True if merges in the order of scores give the tokens that `merges` do.

    The pairs of one token are one step, in any order. A pair that only the scores allow must never meet: when its later
    part is formed, the earlier one stands beside it already, and another merge comes before.
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    best = _first_ranks(merges)
    steps = [left + right for left, right in merges]
    if len(set(steps)) != 1 + sum(one != next_one for one, next_one in itertools.pairwise(steps)):
        return not steps  # a token is formed early by one pair, and late by another
    scored = list(by_score)
    others = [pair for pair in scored if pair not in ranks]
    in_order = [best[left + right] for left, right in scored if (left, right) in ranks]
    if len(in_order) != len(merges) or in_order != sorted(in_order):
        return False
    if not others:
        return True
    is_built_up = all(max(best.get(left, -1), best.get(right, -1)) < rank for (left, right), rank in ranks.items())
    return is_built_up and all(_never_meet(pair, ranks, best, _parts(merges)) for pair in others)


def _first_ranks(merges: Sequence[Pair]) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    return ranks


def _parts(merges: Sequence[Pair]) -> dict[str, list[Pair]]:
    parts: dict[str, list[Pair]] = {}
    for left, right in merges:
        parts.setdefault(left + right, []).append((left, right))
    return parts


def _never_meet(
    pair: Pair, ranks: Mapping[Pair, int], best: Mapping[str, int], parts: Mapping[str, Sequence[Pair]]
) -> bool:
    """Return True if, whenever the later of two tokens could be formed, a better merge takes its part from it."""
    left, right = pair
    if best.get(right, -1) >= best.get(left, -1):
        meeting = [((left, first), (first, second)) for first, second in parts.get(right, [])]
    else:
        meeting = [((second, right), (first, second)) for first, second in parts.get(left, [])]
    return bool(meeting) and all(taken in ranks and ranks[taken] < ranks[formed] for taken, formed in meeting)
