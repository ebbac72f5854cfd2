"""`compare_models`: two models and documents in, the difference in bits per byte with its interval out.

The comparison is paired: both models score the same bytes, so that what makes a text hard for both drops out.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nextword.data.documents import Document
from nextword.errors import RequestError
from nextword.evaluation.bootstrap import Floats, Interval, Resamples
from nextword.evaluation.perplexity_accumulator import FEWEST_UNITS
from nextword.evaluation.scoring.documents import streamed_documents
from nextword.evaluation.scoring.pairs import PairedPiece, has_same_vocabulary, paired_pieces
from nextword.inference.engine import Engine
from nextword.plain_text import count, text_table

BLOCK_BYTES = 512
"""Bytes of a block; blocks are the units of the interval where documents are few."""
NUM_KEPT = 20
"""Number of pieces to keep where the models differ most."""
BIN_NATS = 0.25
"""Width of a bin of the histogram of differences."""
NUM_BINS = 80
"""Bins of that histogram, half of them below zero."""
_BEFORE_BYTES = 60
_NUM_IN_NOTEBOOK = 10
"""Differences that a notebook shows."""


@dataclass(frozen=True)
class Difference:
    """A piece of the text for which the surprisal of the two models differs much."""

    before: str
    """The end of the text before it."""
    text: str
    """Text of the piece."""
    nats_a: float
    """Surprisal of the piece under A."""
    nats_b: float
    """Surprisal of the piece under B."""


@dataclass
class Comparison:
    """Two models, A and B, on the same text: sums over the pieces that both scored, and the figures that follow."""

    has_same_vocabulary: bool
    """True if both models have the same tokens."""
    total_nats_a: float = 0.0
    """Surprisal of the whole text under A."""
    total_nats_b: float = 0.0
    """Surprisal of the whole text under B."""
    num_bytes: int = 0
    """UTF-8 bytes of the scored text."""
    num_pieces: int = 0
    """Number of pieces: tokens, if the vocabulary is the same."""
    total_divergence: float = 0.0
    """Sum of KL(A || B) over the tokens, in nats; for equal vocabularies."""
    num_agreeing: int = 0
    """Tokens where both have the same most probable token."""
    num_documents: int = 0
    """Number of documents."""
    by_document: Resamples = field(default_factory=lambda: Resamples(3), repr=False)
    """Resamples of documents, for the interval."""
    by_block: Resamples = field(default_factory=lambda: Resamples(3), repr=False)
    """Resamples of blocks of bytes, for the interval of few documents."""
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(NUM_BINS, np.int64), repr=False)
    """Pieces by surprisal of B less that of A; the outer bins are open."""
    differences: list[Difference] = field(default_factory=list, repr=False)
    """Pieces where the models differ most, the largest difference first."""

    @property
    def bits_per_byte_a(self) -> float:
        """Surprisal of A, the first model, in bits per byte; NaN if the tokens stand for no bytes."""
        return self._per_byte(self.total_nats_a)

    @property
    def bits_per_byte_b(self) -> float:
        """Surprisal of B, the second model, in bits per byte; NaN if the tokens stand for no bytes."""
        return self._per_byte(self.total_nats_b)

    @property
    def difference(self) -> float:
        """Bits per byte of B less those of A: negative if B predicts the text better."""
        return self.bits_per_byte_b - self.bits_per_byte_a

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the difference; None for fewer than two units."""
        return self.units[1].interval(_difference_in_bits)

    @property
    def units(self) -> tuple[str, Resamples]:
        """Name and resamples of the units of the interval: documents; if these are few, blocks of bytes."""
        if self.by_document.num_units >= FEWEST_UNITS:
            return "documents", self.by_document
        return f"blocks of {BLOCK_BYTES} bytes", self.by_block

    @property
    def mean_divergence(self) -> float | None:
        """KL(A || B) in nats per token; None for different vocabularies."""
        return self.total_divergence / self.num_pieces if self.has_same_vocabulary else None

    @property
    def agreement(self) -> float | None:
        """Share of tokens where both have the same most probable token; None for different vocabularies."""
        return self.num_agreeing / self.num_pieces if self.has_same_vocabulary else None

    @property
    def verdict(self) -> str:
        """The result in words: which model is better, or that the text cannot show a difference."""
        interval = self.interval
        if self.total_nats_a == self.total_nats_b:
            return "B predicts the text exactly as well as A"
        if not self.num_bytes:
            return "the tokens stand for no bytes, by which models are compared"
        if interval is None:
            return "the text is too short to say which model predicts it better"
        if interval.low <= 0.0 <= interval.high:
            return "no difference that this text could show: the interval contains zero"
        better, worse = ("B", "A") if self.difference < 0 else ("A", "B")
        return f"{better} predicts the text better than {worse}"

    def __repr__(self) -> str:
        return f"Comparison(B - A = {signed(self.difference)} bits per byte, {count(self.num_bytes, 'byte')})"

    def __str__(self) -> str:
        lines = [text_table(("bits per byte", "", "95 %"), self._figures(), left=(0, 2)), self.verdict]
        return "\n".join(lines + self._agreement())

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, line, small_table
        from nextword.html.page import escaped
        from nextword.html.tokens import marked_difference

        rows = [[escaped(cell) for cell in row] for row in self._figures()]
        parts = [line(f"{self.verdict}.", strong=True), small_table(("bits per byte", "", "95 %"), rows, left=(0, 2))]
        parts += [line(text) for text in self._agreement()]
        if self.differences:
            cells = [
                (
                    escaped(f"{one.nats_a:.2f}"),
                    escaped(f"{one.nats_b:.2f}"),
                    marked_difference(one.before, one.text, is_better=one.nats_b < one.nats_a),
                )
                for one in self.differences[:_NUM_IN_NOTEBOOK]
            ]
            parts.append(small_table(("A, nats", "B, nats", "where they differ most"), cells, left=(2,)))
        return block(*parts)

    def _per_byte(self, nats: float) -> float:
        return nats / math.log(2) / self.num_bytes if self.num_bytes else math.nan

    def _figures(self) -> list[tuple[str, str, str]]:
        spread = ""
        if self.interval is not None:
            name, resamples = self.units
            spread = f"{self.interval:+.4f}, over {resamples.num_units:,} {name}"
        return [
            ("A", f"{self.bits_per_byte_a:.4f}", ""),
            ("B", f"{self.bits_per_byte_b:.4f}", ""),
            ("B - A", signed(self.difference), spread),
        ]

    def _agreement(self) -> list[str]:
        if self.mean_divergence is None or self.agreement is None:
            return []
        return [
            f"KL divergence of B from A: {self.mean_divergence:.4f} nats/token",
            f"the same most probable token: {self.agreement:.1%} of {self.num_pieces:,}",
        ]


def compare_models(
    a: Engine,
    b: Engine,
    documents: Iterable[Document],
    *,
    context: int | None = None,
    on_progress: Callable[[Comparison], None] = lambda comparison: None,
) -> Comparison:
    """Compare two models on documents. `context`: tokens of a window; None: the smaller context of the two.

    Raises RequestError for a context out of range, if there is no token to score, and if the tokenizers do not read the
    same bytes.
    """
    limit = min(a.backend.max_seq_len, b.backend.max_seq_len)
    if context is not None and not 3 <= context <= limit:
        raise RequestError(f"context = {context}: from 3 to the {limit} tokens that both models attend to")
    comparison = Comparison(has_same_vocabulary(a, b))
    kept: list[tuple[float, int, Difference]] = []
    for document in streamed_documents(documents):
        pieces = paired_pieces(a, b, document, context=context or limit)
        _add_document(comparison, _watch(pieces, comparison, kept), on_progress)
    if not comparison.num_pieces:
        raise RequestError("the text is empty, or has a single token: at least two are needed, the first is context")
    comparison.differences = [difference for *_, difference in sorted(kept, reverse=True)]
    return comparison


def _add_document(
    comparison: Comparison, pieces: Iterator[PairedPiece], on_progress: Callable[[Comparison], None]
) -> None:
    """Add the pieces of a document, and the blocks that they make."""
    document, block = np.zeros(3), np.zeros(3)
    for piece in pieces:
        if piece.nats_a is None or piece.nats_b is None:
            continue
        block += (piece.nats_a, piece.nats_b, len(piece.data))
        if block[2] >= BLOCK_BYTES:
            comparison.by_block = comparison.by_block.plus(*block)
            document, block = document + block, np.zeros(3)
            on_progress(comparison)
    if block[2]:
        comparison.by_block = comparison.by_block.plus(*block)
    document = document + block
    if document[2]:
        comparison.num_documents += 1
        comparison.by_document = comparison.by_document.plus(*document)
    comparison.total_nats_a += float(document[0])
    comparison.total_nats_b += float(document[1])
    comparison.num_bytes += int(document[2])


def _watch(
    pieces: Iterable[PairedPiece], comparison: Comparison, kept: list[tuple[float, int, Difference]]
) -> Iterator[PairedPiece]:
    """Yield the same pieces; add their divergences, and keep the largest differences."""
    before = b""
    for piece in pieces:
        if piece.nats_a is not None and piece.nats_b is not None:
            difference = piece.nats_b - piece.nats_a
            comparison.num_pieces += 1
            comparison.total_divergence += piece.divergence or 0.0
            comparison.num_agreeing += bool(piece.agrees)
            comparison.histogram[min(max(int(difference / BIN_NATS + NUM_BINS / 2), 0), NUM_BINS - 1)] += 1
            if difference and (len(kept) < NUM_KEPT or abs(difference) > kept[0][0]):
                shown = Difference(_text(before), _text(piece.data), piece.nats_a, piece.nats_b)
                heapq.heappush(kept, (abs(difference), -comparison.num_pieces, shown))
                if len(kept) > NUM_KEPT:
                    heapq.heappop(kept)
        before = (before + piece.data)[-_BEFORE_BYTES:]
        yield piece


def signed(figure: float) -> str:
    """Format a difference with its sign, which NaN has not."""
    return "nan" if math.isnan(figure) else f"{figure:+.4f}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _difference_in_bits(sums: Floats) -> Floats:
    return np.asarray((sums[1] - sums[0]) / sums[2] / math.log(2))
