"""`rouge_report`: summaries and their references in; ROUGE-1, ROUGE-2 and ROUGE-L with intervals out.

English words are stemmed, as in most papers (Lin 2004); other languages have words of their own (`rouge_words`). Knows
no model. Needs rouge-score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nextword.evaluation.bootstrap import Interval, Resamples
from nextword.evaluation.rouge_words import WORDS_IN_FULL, UnicodeWords, Words
from nextword.plain_text import count, text_table

KINDS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
"""Name in rouge-score -> in papers: overlap of words, of pairs of words, and the longest common subsequence."""


@dataclass(frozen=True)
class RougeFigure:
    """Mean F1 over the texts, from 0 to 1."""

    mean: float
    """Mean F1 over the texts, from 0 to 1."""
    interval: Interval | None
    """95 %, by bootstrap over the texts; None for fewer than two."""


@dataclass(frozen=True, kw_only=True)
class RougeReport:
    """Similarity of summaries to their references."""

    num_texts: int
    """Number of texts."""
    figures: dict[str, RougeFigure]
    """F1 by rouge-score's name of the metric."""
    mean_words: float
    """Words of a summary, mean."""
    words: Words = "english"
    """Rule by which the texts were split into words."""

    def __repr__(self) -> str:
        figures = (f"{KINDS[kind]} {figure.mean:.4f}" for kind, figure in self.figures.items())
        return f"RougeReport({', '.join(figures)}, {count(self.num_texts, 'text')})"

    def __str__(self) -> str:
        return f"{text_table(('', 'F1', '95 %'), self._rows(), left=(0, 2))}\n{self._summary()}"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, line, small_table
        from nextword.html.page import escaped

        rows = [[escaped(cell) for cell in row] for row in self._rows()]
        return block(small_table(("", "F1", "95 %"), rows, left=(0, 2)), line(self._summary()))

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            (KINDS[kind], f"{figure.mean:.4f}", f"{figure.interval:.4f}" if figure.interval else "")
            for kind, figure in self.figures.items()
        ]

    def _summary(self) -> str:
        size = f"{count(self.num_texts, 'text')}, {self.mean_words:.1f} words a summary"
        return size if self.words == "english" else f"{size}; {WORDS_IN_FULL[self.words]}"


def rouge_report(pairs: Iterable[tuple[str, str]], *, words: Words = "english") -> RougeReport:
    """Compare summaries with their references: pairs of (reference, summary), at least one.

    `words`: how they are split, "english" or "unicode"; `words_of` chooses by the references.
    """
    from rouge_score.rouge_scorer import RougeScorer

    unicode_words = UnicodeWords()
    scorer = RougeScorer(list(KINDS), use_stemmer=True, tokenizer=unicode_words if words == "unicode" else None)
    resamples = Resamples(1 + len(KINDS))
    totals, num_words = dict.fromkeys(KINDS, 0.0), 0
    for reference, summary in pairs:
        scores = {kind: score.fmeasure for kind, score in scorer.score(reference, summary).items()}
        totals = {kind: totals[kind] + scores[kind] for kind in KINDS}
        num_words += len(unicode_words.tokenize(summary) if words == "unicode" else summary.split())
        resamples = resamples.plus(1.0, *(scores[kind] for kind in KINDS))
    num_texts = resamples.num_units
    return RougeReport(
        num_texts=num_texts,
        words=words,
        mean_words=num_words / num_texts,
        figures={
            kind: RougeFigure(totals[kind] / num_texts, _interval(resamples, column))
            for column, kind in enumerate(KINDS, 1)
        },
    )


def _interval(resamples: Resamples, column: int) -> Interval | None:
    return resamples.interval(lambda sums: sums[column] / sums[0])
