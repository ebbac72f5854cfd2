"""`Measurement`: what is known of texts whose windows are being scored: sums, resamples, profiles. No text is kept.

It grows by windows and by ends of documents, and can be written down and taken up again.
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
"""Powers of two of how many tokens stood before the scored one."""
BLOCK_TOKENS = 32
"""Of few windows, so many tokens each are the units of the interval."""
FEWEST_UNITS = 20
"""An interval over fewer would be too narrow, and finer units are taken."""


@dataclass
class Sums:
    """Of scored text: the nats and the counts, kept apart, and what follows from them."""

    total_nats: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0
    """Of the scored text in UTF-8."""
    num_words: int | None = None
    """Of the original text; of the convention lm-eval only."""

    @property
    def nats_per_token(self) -> float:
        """Mean negative log-likelihood."""
        return _ratio(self.total_nats, self.num_tokens)

    @property
    def perplexity(self) -> float:
        """exp(nats per token); inf where no float is as large."""
        return safe_exp(self.nats_per_token)

    @property
    def bits_per_byte(self) -> float:
        """The one figure that can be compared between tokenizers."""
        return _ratio(self.total_nats, self.num_bytes * math.log(2))

    @property
    def word_perplexity(self) -> float | None:
        """As lm-eval has it."""
        return None if self.num_words is None else safe_exp(_ratio(self.total_nats, self.num_words))

    @property
    def byte_perplexity(self) -> float | None:
        """As lm-eval has it."""
        return None if self.num_words is None else safe_exp(_ratio(self.total_nats, self.num_bytes))

    def add(self, other: Sums) -> None:
        """Count another part of the text in."""
        self.total_nats += other.total_nats
        self.num_tokens += other.num_tokens
        self.num_bytes += other.num_bytes
        if other.num_words is not None:
            self.num_words = (self.num_words or 0) + other.num_words


@dataclass
class Measurement:
    """Sums over all documents and over the one that is being read."""

    total: Sums = field(default_factory=Sums)
    """Of the documents that have ended."""
    document: Sums = field(default_factory=Sums)
    num_documents: int = 0
    num_too_short: int = 0
    """Documents of which nothing could be scored."""
    num_windows: int = 0
    num_items: int = 0
    """Windows and ends of documents: how far the reading is."""
    by_document: Resamples = field(default_factory=lambda: Resamples(3))
    by_window: Resamples = field(default_factory=lambda: Resamples(3))
    by_block: Resamples = field(default_factory=lambda: Resamples(3))
    """Of the first windows."""
    histogram: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(NUM_BINS))
    """Scored tokens by their surprisal; the last bin has the rest."""
    by_context: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, NUM_CONTEXT_BINS)))
    """Nats and scored tokens by how many tokens stood before: bin i from 2^i on."""

    @property
    def num_scored(self) -> int:
        """Tokens so far."""
        return self.total.num_tokens + self.document.num_tokens

    @property
    def so_far(self) -> float:
        """Nats per token so far."""
        return _ratio(self.total.total_nats + self.document.total_nats, self.num_scored)

    def add_window(self, scores: TokenScores, num_bytes: npt.NDArray[np.int64], *, num_before: int) -> None:
        """Count the scored tokens of a window in, with the bytes of each; `num_before` stood before the first."""
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
        """The sums of the document that has ended; `num_bytes` and `num_words` of its text, if all of it was scored."""
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
        """What the interval is drawn over: documents; of few documents their windows; of few windows their blocks."""
        if self.by_document.num_units >= FEWEST_UNITS:
            return "documents", self.by_document
        if self.by_window.num_units >= FEWEST_UNITS:
            return "windows", self.by_window
        return f"blocks of {BLOCK_TOKENS} tokens", self.by_block

    def intervals(self) -> tuple[Interval | None, Interval | None]:
        """Of nats per token, and of bits per byte."""
        _, resamples = self.units()
        return (
            resamples.interval(lambda sums: sums[0] / sums[1]),
            resamples.interval(lambda sums: sums[0] / sums[2] / math.log(2)),
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
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
    def from_json(cls, fields: Mapping[str, Any]) -> Measurement:
        """What `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
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
    """nan of nothing."""
    return numerator / denominator if denominator else math.nan


def safe_exp(nats: float) -> float:
    """inf where no float is as large."""
    return math.inf if nats > 709 else math.exp(nats)
