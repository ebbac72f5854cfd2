"""Perplexity (textbook eq. 10.7): documents and a convention in, a report out. Memory does not grow with the texts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from nextword.data.documents import Document
from nextword.errors import DataError, RequestError
from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.conventions import Convention
from nextword.evaluation.perplexity_accumulator import PerplexityAccumulator, Sums, safe_exp
from nextword.evaluation.scoring.batches import batches, score_batch
from nextword.evaluation.scoring.documents import StreamedDocument, streamed_documents
from nextword.evaluation.scoring.windows import Window
from nextword.inference.engine import Engine
from nextword.plain_text import count, text_table
from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class DocumentScore:
    """Sums of one document."""

    place: str
    """File and line."""
    sums: Sums


@dataclass(frozen=True, kw_only=True)
class PerplexityReport:
    """Perplexity of documents under a model, with its intervals and the convention by which it was counted."""

    convention: Convention
    """Name, context and stride."""
    sums: Sums
    """Sums over all documents."""
    nats_interval: Interval | None
    """95 % interval of nats per token; None for fewer than two units."""
    bits_interval: Interval | None
    """95 % interval of bits per byte."""
    interval_units: str
    """Name of the units that the bootstrap resamples: documents, windows or blocks of tokens."""
    num_units: int
    """Number of these units."""
    num_documents: int
    """Documents with scored tokens."""
    num_too_short: int
    """Documents with too few tokens for this convention to score any."""
    num_windows: int
    """Windows that were scored."""
    accumulator: PerplexityAccumulator = field(repr=False)
    """Resamples and histograms behind the figures, for plots."""

    @property
    def total_nats(self) -> float:
        """Sum of the surprisal of all scored tokens."""
        return self.sums.total_nats

    @property
    def num_tokens(self) -> int:
        """Scored tokens."""
        return self.sums.num_tokens

    @property
    def num_bytes(self) -> int:
        """Bytes of the scored text in UTF-8."""
        return self.sums.num_bytes

    @property
    def nats_per_token(self) -> float:
        """Mean negative log-likelihood."""
        return self.sums.nats_per_token

    @property
    def perplexity(self) -> float:
        """exp(nats per token); inf on overflow."""
        return self.sums.perplexity

    @property
    def perplexity_interval(self) -> Interval | None:
        """95 % interval of the perplexity."""
        interval = self.nats_interval
        return None if interval is None else Interval(safe_exp(interval.low), safe_exp(interval.high))

    @property
    def bits_per_byte(self) -> float:
        """Surprisal in bits per byte: comparable between tokenizers."""
        return self.sums.bits_per_byte

    def __repr__(self) -> str:
        tokens = count(self.num_tokens, "token")
        return f"PerplexityReport(perplexity {self.perplexity:.4f}, {tokens}, {self.convention.name})"

    def __str__(self) -> str:
        return f"{text_table(('', '', '95 %'), self._figures(), left=(0, 2))}\n{self._counted()}"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, line, small_table
        from nextword.html.page import escaped

        rows = [[escaped(cell) for cell in row] for row in self._figures()]
        return block(small_table(("", "", "95 %"), rows, left=(0, 2)), line(self._counted()))

    def _figures(self) -> list[tuple[str, str, str]]:
        rows = (
            ("perplexity", self.perplexity, self.perplexity_interval),
            ("nats per token", self.nats_per_token, self.nats_interval),
            ("bits per byte", self.bits_per_byte, self.bits_interval),
        )
        return [(name, f"{figure:.4f}", f"{interval:.4f}" if interval else "") for name, figure, interval in rows]

    def _counted(self) -> str:
        """Return a line with the counts and the convention."""
        scored = f"{self.num_tokens:,} tokens, {self.num_bytes:,} bytes, {count(self.num_documents, 'document')}"
        stride = "" if self.convention.stride is None else f", stride {self.convention.stride}"
        units = f"; intervals over {self.num_units:,} {self.interval_units}" if self.nats_interval else ""
        return f"{scored}; {self.convention.name}, context {self.convention.context}{stride}{units}"


def measure_perplexity(
    engine: Engine,
    documents: Iterable[Document],
    convention: Convention,
    *,
    resume_from: PerplexityAccumulator | None = None,
    skip_short: bool = False,
    on_document: Callable[[DocumentScore], None] = lambda score: None,
    on_progress: Callable[[PerplexityAccumulator], None] = lambda accumulator: None,
) -> PerplexityReport:
    """Score documents and return their perplexity.

    Args:
        documents: each is scored by itself; pieces of one document are joined.
        convention: which tokens are scored, and with how much context.
        resume_from: the state of the same call when it was interrupted; documents are read again, but not scored.
        skip_short: count documents with too few tokens and raise no DataError, as llama.cpp's convention always does.
        on_document: called at the end of each document that has scored tokens.
        on_progress: called with the state after each batch of windows; may keep it.

    Raises RequestError if there is no token to score, DataError for a document that is too short.
    """
    accumulator = resume_from or PerplexityAccumulator()
    items = islice(_items(documents, convention, engine.tokenizer), accumulator.num_items, None)
    for batch in batches(items, lambda item: item[1]):
        following = copy.deepcopy(accumulator)  # an interruption leaves the state before the batch
        scores = iter(score_batch(engine, [window for _, window in batch if window is not None]))
        for document, window in batch:
            if window is not None:
                num_bytes = _bytes_of(window, engine.tokenizer, convention)
                following.add_window(next(scores), num_bytes, num_before=window.num_context)
                continue
            sums = following.end_document(**_counts(document, convention))
            if sums.num_tokens:
                on_document(DocumentScore(place=document.place, sums=sums))
            elif not skip_short and convention.name != "llama.cpp":
                raise DataError(f"{document.place}: {_too_short(document, convention)}")
        accumulator = following
        on_progress(accumulator)
    return _report(accumulator, convention)


def sum_nats(engine: Engine, windows: Iterable[Window]) -> tuple[float, int]:
    """Return the summed surprisal of all scored tokens in nats, and their number."""
    total, num_tokens = 0.0, 0
    for batch in batches(windows, lambda window: window):
        for scores in score_batch(engine, batch):
            total += float(scores.nats.sum())
            num_tokens += len(scores.nats)
    return total, num_tokens


def _items(
    documents: Iterable[Document], convention: Convention, tokenizer: Tokenizer
) -> Iterator[tuple[StreamedDocument, Window | None]]:
    """Yield each document with each of its windows, then with None at its end."""
    for document in streamed_documents(documents):
        for window in convention.windows(document, tokenizer):
            yield document, window
        yield document, None


def _counts(document: StreamedDocument, convention: Convention) -> dict[str, int]:
    """Return the counts that lm-eval divides by; {} for conventions that do not score all of a text."""
    if convention.name != "lm-eval":
        return {}
    return {"num_bytes": document.num_bytes, "num_words": document.num_words}


def _bytes_of(window: Window, tokenizer: Tokenizer, convention: Convention) -> npt.NDArray[np.int64]:
    """Return the number of bytes of each scored token, (num_scored,)."""
    first_of_text = 0 if convention.name == "lm-eval" else len(tokenizer.prefix_token_ids)
    return np.array(
        [
            len(tokenizer.token_bytes(token_id, begins_text=position == first_of_text))
            for position, token_id in enumerate(window.scored, window.start + window.num_context)
        ],
        dtype=np.int64,
    )


def _too_short(document: StreamedDocument, convention: Convention) -> str:
    if not document.num_bytes:
        return "the text is empty"
    return f"the text has a single token, and the convention {convention.name} needs two: the first is context"


def _report(accumulator: PerplexityAccumulator, convention: Convention) -> PerplexityReport:
    if not accumulator.num_items:
        raise RequestError("the text is empty: there is nothing to score")
    if not accumulator.total.num_tokens:
        needed = f"{convention.name} scores texts of at least {convention.num_needed} tokens"
        if convention.name == "llama.cpp":
            needed += ", a whole chunk: choose a smaller context"
        raise RequestError(f"no text that could be scored: {needed}")
    nats_interval, bits_interval = accumulator.intervals()
    units, resamples = accumulator.units()
    return PerplexityReport(
        convention=convention,
        sums=accumulator.total,
        nats_interval=nats_interval,
        bits_interval=bits_interval,
        interval_units=units,
        num_units=resamples.num_units,
        num_documents=accumulator.num_documents,
        num_too_short=accumulator.num_too_short,
        num_windows=accumulator.num_windows,
        accumulator=accumulator,
    )
