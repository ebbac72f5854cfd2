"""`describe`: one position of a text as JSON: steps, rows of tokens, the draw. Computes with whole vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nextword.decoding.distribution import Distribution
from nextword.decoding.random_stream import RANDOM_BITS
from nextword.decoding.sampler import Sampler
from nextword.inference.backend import Logits
from nextword.serving.vocabulary import Vocabulary

STEP_HELP: Mapping[str, str] = {
    "model": "The model's own distribution: softmax of its logits.",
    "penalties": "Logits changed by bias, penalties and bans.",
    "temperature": "Logits divided by the temperature: below 1 greedier, above 1 flatter.",
    "dynatemp_range": "A temperature that falls where the model is sure and rises where it is not.",
    "top_k": "The k most probable tokens stay.",
    "top_p": "The smallest set of most probable tokens with this mass stays.",
    "min_p": "Tokens at least this many times as probable as the first stay.",
    "typical_p": "Tokens whose surprisal is nearest to the entropy stay, up to this mass.",
    "epsilon_cutoff": "Tokens at least this probable stay.",
    "eta_cutoff": "Tokens above a bound stay that falls as the entropy rises.",
    "top_n_sigma": "Tokens whose logit is within n standard deviations of the largest stay.",
    "p_less": "Tokens at least as probable as a draw is to repeat itself stay.",
    "xtc_threshold": "Of the tokens that are this probable only the least probable stays.",
    "mirostat_tau": "Tokens up to a bound of surprisal stay.",
}
"""A sentence about each step."""
Ids = npt.NDArray[np.intp]


def describe(
    sampler: Sampler,
    logits: Logits,
    vocabulary: Vocabulary,
    *,
    token_id: int | None,
    top: int,
    others: Ids,
    most_others: int,
) -> dict[str, Any]:
    """Describe the distribution from which the sampler would draw its next token.

    Args:
        sampler: of the text before the position; it stays as it is.
        logits: the model's, (vocab_size,).
        vocabulary: names the tokens.
        token_id: the token that stands there, if any.
        top: number of rows for the model's most probable tokens.
        others: tokens that have rows as well, besides `token_id` and the drawn one; of many, the most probable.
        most_others: number of rows for them.
    """
    steps = dict(sampler.steps(logits))
    raw, last = steps["model"], list(steps.values())[-1]
    ids = np.array([one for one, _ in raw.most_probable(top)], dtype=np.intp)
    if len(others) > most_others:
        others = others[np.argsort(-logits[others], kind="stable")[:most_others]]
    draw = None if sampler.params.seed is None else _draw(last, sampler)
    always = [*([] if token_id is None else [token_id]), *([] if draw is None else [draw["token_id"]])]
    ids = np.array(list(dict.fromkeys([*ids.tolist(), *others.tolist(), *always])), dtype=np.intp)
    return {
        "token": None if token_id is None else token_row(vocabulary, raw, logits, token_id),
        "entropy": raw.entropy,
        "steps": [_step(name, raw, step) for name, step in steps.items()],
        "rows": _rows(ids, logits, steps, vocabulary),
        "draw": draw,
    }


def token_row(vocabulary: Vocabulary, raw: Distribution, logits: Logits, token_id: int) -> dict[str, Any]:
    """Return a token with its log-probability and rank under the model's distribution, and the entropy of that."""
    log_prob = raw.log_prob(token_id)
    return {
        **vocabulary.named(token_id),
        "log_prob": log_prob,
        "rank": int(_ranks(logits, np.array([token_id]))[0]),
        "entropy": raw.entropy,
    }


def _step(name: str, raw: Distribution, left: Distribution) -> dict[str, Any]:
    mass = 1.0 if left.kept is None else min(float(np.exp(raw.log_probs(left.kept)).sum()), 1.0)
    return {
        "name": name,
        "num_tokens": len(left),
        "mass": mass,
        "entropy": left.entropy,
        "help": STEP_HELP[name],
    }


def _rows(ids: Ids, logits: Logits, steps: dict[str, Distribution], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Return a row for each token: its logit and rank, and its probability after each step until one removes it."""
    last = list(steps.values())[-1]
    log_probs = np.array([step.log_probs(ids) for step in steps.values()])
    is_removed = np.isneginf(log_probs)
    removed_by = [None if step is None else list(steps)[step] for step in _first_true(is_removed)]
    ranks, intervals = _ranks(logits, ids), last.intervals(ids)
    rows = []
    for index, token_id in enumerate(ids.tolist()):
        rows.append(
            {
                **vocabulary.named(token_id),
                "logit": float(logits[token_id]),
                "probabilities": [
                    None if value == -math.inf else math.exp(value) for value in log_probs[:, index].tolist()
                ],
                "removed_by": removed_by[index],
                "rank": int(ranks[index]),
                "cumulated": None if removed_by[index] else intervals[index].tolist(),
            }
        )
    return rows


def _first_true(columns: npt.NDArray[np.bool_]) -> list[int | None]:
    """Return the first row that is true in each column, None where none is."""
    has_one, first = np.any(columns, axis=0), np.argmax(columns, axis=0)
    return [row if is_there else None for row, is_there in zip(first.tolist(), has_one.tolist(), strict=True)]


def _ranks(logits: Logits, ids: Ids) -> npt.NDArray[np.intp]:
    """Return the ranks of tokens: 1 for the largest logit; of equal ones the lower id comes first."""
    ordered, keys = np.sort(logits), logits[ids]
    above = len(logits) - np.searchsorted(ordered, keys, side="right")
    is_tied = len(logits) - np.searchsorted(ordered, keys, side="left") - above > 1
    ranks: npt.NDArray[np.intp] = 1 + above
    for index in np.flatnonzero(is_tied):
        ranks[index] += np.count_nonzero(logits[: ids[index]] == keys[index])
    return ranks


def _draw(last: Distribution, sampler: Sampler) -> dict[str, Any]:
    """Return the token that the seed draws, the number it was drawn by, and the token's interval of the cumulation."""
    number = sampler.numbers[0]
    token_id = last.argmax() if sampler.params.is_greedy else last.draw(number)
    (interval,) = last.intervals(np.array([token_id])).tolist()
    return {"token_id": token_id, "number": number / 2**RANDOM_BITS, "interval": interval}
