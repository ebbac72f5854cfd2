"""`PerplexityAccumulator`: sums, bootstrap resamples and histograms of the windows scored so far. Keeps no text.

In: the scores of windows, and ends of documents. Out: figures with intervals, or JSON from which a run resumes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nextword.evaluation.bootstrap import Interval, Resamples
from nextword.inference.backend import TokenScores

BIN_NATS = 0.5
"""Width of the bins of the histogram of surprisals."""
NUM_BINS = 50
NUM_CONTEXT_BINS = 20
"""Bins by the number of tokens before the scored one, bounded by powers of two."""
BLOCK_TOKENS = 32
"""Tokens of a block; blocks are the units of the interval where windows are few."""
FEWEST_UNITS = 20
"""Over fewer units an interval would be too narrow: finer units are taken."""


@dataclass
class Sums:
    """Nats and counts of scored text, kept apart, and the figures that follow from them."""

    total_nats: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0
    """Bytes of the scored text in UTF-8."""
    num_words: int | None = None
    """Words of the original text; None except for the convention lm-eval."""

    @property
    def nats_per_token(self) -> float:
        """Mean negative log-likelihood."""
        return _ratio(self.total_nats, self.num_tokens)

    @property
    def perplexity(self) -> float:
        """exp(nats per token), textbook eq. 10.7; inf on overflow."""
        return safe_exp(self.nats_per_token)

    @property
    def bits_per_byte(self) -> float:
        """Surprisal in bits per byte: comparable between tokenizers."""
        return _ratio(self.total_nats, self.num_bytes * math.log(2))

    @property
    def word_perplexity(self) -> float | None:
        """exp(nats per word), as lm-eval reports it."""
        return None if self.num_words is None else safe_exp(_ratio(self.total_nats, self.num_words))

    @property
    def byte_perplexity(self) -> float | None:
        """exp(nats per byte), as lm-eval reports it."""
        return None if self.num_words is None else safe_exp(_ratio(self.total_nats, self.num_bytes))

    def add(self, other: Sums) -> None:
        """Add the sums of another part of the text."""
        self.total_nats += other.total_nats
        self.num_tokens += other.num_tokens
        self.num_bytes += other.num_bytes
        if other.num_words is not None:
            self.num_words = (self.num_words or 0) + other.num_words


@dataclass
class PerplexityAccumulator:
    """Sums over all documents and over the current one, with resamples and histograms of their tokens."""

    total: Sums = field(default_factory=Sums)
    """Sums of the documents that have ended."""
    document: Sums = field(default_factory=Sums)
    """Sums of the current document."""
    num_documents: int = 0
    num_too_short: int = 0
    """Documents with no scored token."""
    num_windows: int = 0
    num_items: int = 0
    """Windows and ends of documents counted: the place at which a run resumes."""
    by_document: Resamples = field(default_factory=lambda: Resamples(3))
    by_window: Resamples = field(default_factory=lambda: Resamples(3))
    by_block: Resamples = field(default_factory=lambda: Resamples(3))
    """Blocks of the first windows."""
    histogram: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(NUM_BINS))
    """Scored tokens by surprisal, bins of `BIN_NATS`; the last bin is open."""
    by_context: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, NUM_CONTEXT_BINS)))
    """Nats and scored tokens by the number of tokens before: bin i begins at 2**i."""

    @property
    def num_scored(self) -> int:
        """Scored tokens, the current document included."""
        return self.total.num_tokens + self.document.num_tokens

    @property
    def nats_per_token(self) -> float:
        """Mean surprisal, the current document included."""
        return _ratio(self.total.total_nats + self.document.total_nats, self.num_scored)

    def add_window(self, scores: TokenScores, num_bytes: npt.NDArray[np.int64], *, num_before: int) -> None:
        """Add a window's scores, with the bytes of each token; `num_before`: tokens before the first scored one."""
        nats = scores.nats
        self.num_items += 1
        self.num_windows += 1
        self.document.add(Sums(float(nats.sum()), len(nats), int(num_bytes.sum())))
        self.by_window = self.by_window.plus(float(nats.sum()), len(nats), int(num_bytes.sum()))
        if self.num_windows <= FEWEST_UNITS:
            for start in range(0, len(nats), BLOCK_TOKENS):
                block = slice(start, start + BLOCK_TOKENS)
                self.by_block = self.by_block.plus(
                    float(nats[block].sum()), len(nats[block]), int(num_bytes[block].sum())
                )
        bins = np.minimum(nats / BIN_NATS, NUM_BINS - 1).astype(np.intp)
        self.histogram = self.histogram + np.bincount(bins, minlength=NUM_BINS)
        powers = np.log2(np.arange(num_before, num_before + len(nats))).astype(np.intp)
        counts = [np.bincount(powers, weights, minlength=NUM_CONTEXT_BINS) for weights in (nats, None)]
        self.by_context = self.by_context + counts

    def end_document(self, *, num_bytes: int | None = None, num_words: int | None = None) -> Sums:
        """End the current document; return its sums. `num_bytes`, `num_words`: of its text, if all of it was scored."""
        ended = self.document
        ended.num_words = num_words
        ended.num_bytes = ended.num_bytes if num_bytes is None else num_bytes
        self.document = Sums()
        self.num_items += 1
        if ended.num_tokens:
            self.num_documents += 1
            self.total.add(ended)
            self.by_document = self.by_document.plus(ended.total_nats, ended.num_tokens, ended.num_bytes)
        else:
            self.num_too_short += 1
        return ended

    def units(self) -> tuple[str, Resamples]:
        """Return the units of the interval: documents; if these are few, windows; else blocks of tokens."""
        if self.by_document.num_units >= FEWEST_UNITS:
            return "documents", self.by_document
        if self.by_window.num_units >= FEWEST_UNITS:
            return "windows", self.by_window
        return f"blocks of {BLOCK_TOKENS} tokens", self.by_block

    def intervals(self) -> tuple[Interval | None, Interval | None]:
        """Return the 95 % intervals of nats per token and of bits per byte; None where a resample has no bytes."""
        _, resamples = self.units()
        return (
            resamples.interval(lambda sums: sums[0] / sums[1]),
            resamples.interval(lambda sums: sums[0] / np.where(sums[2], sums[2], np.nan) / math.log(2)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        counts = ("num_documents", "num_too_short", "num_windows", "num_items")
        resamples = ("by_document", "by_window", "by_block")
        return {
            "total": asdict(self.total),
            "document": asdict(self.document),
            **{name: getattr(self, name) for name in counts},
            **{
                name: {"num_units": (of := getattr(self, name)).num_units, "sums": of.sums.tolist()}
                for name in resamples
            },
            "histogram": self.histogram.tolist(),
            "by_context": self.by_context.tolist(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PerplexityAccumulator:
        """Read the fields that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        resamples = ("by_document", "by_window", "by_block")
        return cls(
            **{
                **fields,
                "total": Sums(**fields["total"]),
                "document": Sums(**fields["document"]),
                **{name: Resamples(3, **fields[name]) for name in resamples},
                "histogram": np.array(fields["histogram"]),
                "by_context": np.array(fields["by_context"]),
            }
        )


def _ratio(numerator: float, denominator: float) -> float:
    """Return the ratio; NaN for a denominator of 0."""
    return numerator / denominator if denominator else math.nan


def safe_exp(nats: float) -> float:
    """Return exp(nats), inf on overflow."""
    return math.inf if nats > 709 else math.exp(nats)
