"""`decoded_figures`: generated texts and the model's scores of them in; repetition, diversity, perplexity out.

Repetition (Welleck et al. 2020), distinct n-grams (Li et al. 2016), Self-BLEU (Zhu et al. 2018), Zipf's exponent
(Holtzman et al. 2020), all over token ids, and the perplexity and entropy of the model itself along the texts. Knows no
model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nextword.evaluation.bootstrap import Interval, Resamples
from nextword.evaluation.perplexity_accumulator import safe_exp
from nextword.inference.backend import TokenScores

LARGEST_N = 4
_SIZES = range(2, LARGEST_N + 1)
_MOST_RANKS = 5000
"""Number of the most frequent tokens whose frequencies the exponent is fitted to, as by Holtzman et al."""


@dataclass(frozen=True)
class DecodedText:
    """A completion with its scores. At least one token is scored."""

    token_ids: Sequence[int]
    """Its tokens without the end-of-sequence token."""
    scores: TokenScores
    """Scores of each token, the end included, under the model without temperature or truncation."""


@dataclass(frozen=True, kw_only=True)
class DecodedFigures:
    """Figures of all texts generated with one setting."""

    num_texts: int
    """Number of texts."""
    repetition: dict[int, float]
    """rep-n by n: share of a text's n-grams that repeat an earlier one; mean over texts of at least n tokens."""
    distinct: dict[int, float]
    """distinct-n by n: different n-grams of all texts divided by all their n-grams."""
    self_bleu: float | None
    """Mean BLEU-4, from 0 to 1, of each text against the others of its prompt; 1: all are the same. None: no others."""
    zipf: float | None
    """Exponent s of Zipf's law for all texts: frequencies fall as rank to the power -s. None for one token alone."""
    perplexity: float
    """Perplexity of the texts under the model itself."""
    perplexity_interval: Interval | None
    """95 % interval by the bootstrap over prompts."""
    entropy: float
    """Mean entropy in nats of the model's distributions before each token."""
    mean_length: float
    """Tokens of a text, mean."""


def decoded_figures(by_prompt: Sequence[Sequence[DecodedText]]) -> DecodedFigures:
    """Compute the figures of the texts of each prompt."""
    texts = [text for of_prompt in by_prompt for text in of_prompt]
    num_scored = sum(len(text.scores.nats) for text in texts)
    resamples = Resamples(2)
    for of_prompt in by_prompt:
        nats = sum(float(text.scores.nats.sum()) for text in of_prompt)
        resamples = resamples.plus(nats, sum(len(text.scores.nats) for text in of_prompt))
    interval = resamples.interval(lambda sums: sums[0] / sums[1])
    compared = [[text.token_ids for text in of_prompt] for of_prompt in by_prompt if len(of_prompt) > 1]
    return DecodedFigures(
        num_texts=len(texts),
        repetition={
            n: _mean([repetition(text.token_ids, n) for text in texts if len(text.token_ids) >= n]) for n in _SIZES
        },
        distinct={n: distinct([text.token_ids for text in texts], n) for n in range(1, LARGEST_N + 1)},
        self_bleu=_mean([self_bleu(of_prompt) for of_prompt in compared]) if compared else None,
        zipf=zipf([text.token_ids for text in texts]),
        perplexity=safe_exp(sum(float(text.scores.nats.sum()) for text in texts) / num_scored),
        perplexity_interval=interval and Interval(safe_exp(interval.low), safe_exp(interval.high)),
        entropy=sum(float(text.scores.entropies.sum()) for text in texts) / num_scored,
        mean_length=_mean([len(text.token_ids) for text in texts]),
    )


def repetition(token_ids: Sequence[int], n: int) -> float:
    """Return the share of a text's n-grams that repeat an earlier one; 0 if it has none."""
    grams = _grams(token_ids, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(texts: Sequence[Sequence[int]], n: int) -> float:
    """Return the different n-grams of all texts divided by all their n-grams; 0 if there are none."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_bleu(texts: Sequence[Sequence[int]]) -> float:
    """Return the mean BLEU-4 of each text against the others; no shared n-gram counts as 0.1 (nltk's method1)."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    others = [[*texts[:index], *texts[index + 1 :]] for index in range(len(texts))]
    return _mean(
        [
            float(sentence_bleu(references, text, smoothing_function=smooth))
            for text, references in zip(texts, others, strict=True)
        ]
    )


def zipf(texts: Sequence[Sequence[int]]) -> float | None:
    """Return the exponent of Zipf's law, by least squares of log frequency over log rank; None for fewer than 2 tokens.

    As by Holtzman et al. 2020, over the 5,000 most frequent tokens.
    """
    counts = sorted(Counter(token_id for text in texts for token_id in text).values(), reverse=True)[:_MOST_RANKS]
    if len(counts) < 2:
        return None
    slope, _ = np.polyfit(np.log(np.arange(1, len(counts) + 1)), np.log(counts), 1)
    return float(-slope)


def _grams(token_ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(token_ids[start : start + n]) for start in range(len(token_ids) - n + 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
