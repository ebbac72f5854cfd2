"""How near summaries are to those that a person wrote: ROUGE-1, ROUGE-2 and ROUGE-L, with intervals. Needs rouge-score.

Pairs of texts in, figures out. Words are stemmed, as in most papers. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rouge_score.rouge_scorer import RougeScorer

from nextword.evaluation.bootstrap import Interval, Resamples

KINDS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
"""Name in rouge-score -> in papers: overlap of words, of pairs of words, and the longest common subsequence."""


@dataclass(frozen=True)
class RougeFigure:
    """The mean F1 over the texts, from 0 to 1."""

    mean: float
    interval: Interval | None
    """95 %, by bootstrap over the texts; None for fewer than two."""


@dataclass(frozen=True, kw_only=True)
class RougeReport:
    """How near some summaries are to their references."""

    num_texts: int
    figures: dict[str, RougeFigure]
    """By the names of rouge-score."""
    mean_words: float
    """In a summary."""


def rouge_report(pairs: Iterable[tuple[str, str]]) -> RougeReport:
    """Compare summaries with their references: pairs of (reference, summary), at least one."""
    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    resamples = Resamples(1 + len(KINDS))
    totals, num_words = dict.fromkeys(KINDS, 0.0), 0
    for reference, summary in pairs:
        scores = {kind: score.fmeasure for kind, score in scorer.score(reference, summary).items()}
        totals = {kind: totals[kind] + scores[kind] for kind in KINDS}
        num_words += len(summary.split())
        resamples = resamples.plus(1.0, *(scores[kind] for kind in KINDS))
    num_texts = resamples.num_units
    return RougeReport(
        num_texts=num_texts,
        mean_words=num_words / num_texts,
        figures={
            kind: RougeFigure(totals[kind] / num_texts, _interval(resamples, column))
            for column, kind in enumerate(KINDS, 1)
        },
    )


def _interval(resamples: Resamples, column: int) -> Interval | None:
    return resamples.interval(lambda sums: sums[column] / sums[0])
