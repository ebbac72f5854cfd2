"""Perplexity (textbook eq. 10.7): documents and a convention in, a report out. Memory does not grow with the texts."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from nextword.data.documents import Document
from nextword.errors import DataError, RequestError
from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.conventions import Convention
from nextword.evaluation.measurement import Measurement, Sums, safe_exp
from nextword.evaluation.scoring import batches, score_batch
from nextword.evaluation.windows import Window
from nextword.inference.backend import Backend
from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class DocumentScore:
    """How well a model predicts one document."""

    place: str
    """File and line."""
    sums: Sums


@dataclass(frozen=True, kw_only=True)
class PerplexityReport:
    """How well a model predicts texts, and how that was counted."""

    convention: Convention
    sums: Sums
    """Over all documents."""
    nats_interval: Interval | None
    """Of nats per token, 95 %; None where there was but one unit."""
    bits_interval: Interval | None
    """Of bits per byte."""
    interval_units: str
    """What the intervals are drawn over."""
    num_units: int
    num_documents: int
    num_too_short: int
    """Documents with too few tokens for this convention to score any."""
    num_windows: int
    measurement: Measurement
    """Where the figures come from, for plots."""

    @property
    def total_nats(self) -> float:
        """Surprisal of all scored tokens together."""
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
        """exp(nats per token); inf where no float is as large."""
        return self.sums.perplexity

    @property
    def perplexity_interval(self) -> Interval | None:
        """95 %."""
        interval = self.nats_interval
        return None if interval is None else Interval(safe_exp(interval.low), safe_exp(interval.high))

    @property
    def bits_per_byte(self) -> float:
        """The one figure that can be compared between tokenizers."""
        return self.sums.bits_per_byte


def measure_perplexity(
    backend: Backend,
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    convention: Convention,
    *,
    begun: Measurement | None = None,
    skip_short: bool = False,
    on_document: Callable[[DocumentScore], None] = lambda score: None,
    on_progress: Callable[[Measurement], None] = lambda measurement: None,
) -> PerplexityReport:
    """Score documents, a text each.

    `begun`: what the same call had measured when it was interrupted; documents are read again, but not scored.
    `on_progress` gets what is known after every few windows, and may keep it. `skip_short`: count documents with too
    few tokens instead of raising DataError; llama.cpp's convention, which drops the end of every text, always does.
    Raises RequestError if nothing at all can be scored.
    """
    measurement = begun or Measurement()
    items = islice(_items(documents, convention, tokenizer), measurement.num_items, None)
    for batch in batches(items, lambda item: item.window):
        following = copy.deepcopy(measurement)  # an interruption leaves what was there before
        scores = iter(score_batch(backend, [item.window for item in batch if item.window is not None]))
        for item in batch:
            if item.window is not None:
                num_bytes = _bytes_of(item.window, tokenizer, convention)
                num_before = len(item.window.token_ids) - item.window.num_scored
                following.add_window(next(scores), num_bytes, num_before=num_before)
                continue
            sums = following.end_document(**item.text.counts(convention))
            if sums.num_tokens:
                on_document(DocumentScore(place=item.place, sums=sums))
            elif not skip_short and convention.name != "llama.cpp":
                raise DataError(f"{item.place}: {_too_short(item.text, convention)}")
        measurement = following
        on_progress(measurement)
    return _report(measurement, convention)


def sum_nats(backend: Backend, windows: Iterable[Window]) -> tuple[float, int]:
    """The surprisal of all scored tokens, in nats, and how many they are."""
    total, count = 0.0, 0
    for batch in batches(windows, lambda window: window):
        for scores in score_batch(backend, batch):
            total += float(scores.nats.sum())
            count += len(scores.nats)
    return total, count


class _Text:
    """The pieces of one document, counted as they are read."""

    def __init__(self, first: Document, others: Iterator[Document]) -> None:
        self._pieces = chain([first], others)
        self.num_bytes = 0
        self.num_words = 1  # as many as spaces between them and one more, empty ones at the ends included
        self._ends_in_space = False

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self.num_bytes += len(piece.text.encode())
            spaces = len(re.findall(r"\s+", piece.text))
            self.num_words += spaces - int(self._ends_in_space and piece.text[:1].isspace())
            self._ends_in_space = piece.text[-1:].isspace()
            yield piece.text

    def counts(self, convention: Convention) -> dict[str, int]:
        """What lm-eval divides by, which scores all of a text."""
        return {"num_bytes": self.num_bytes, "num_words": self.num_words} if convention.name == "lm-eval" else {}


@dataclass(frozen=True)
class _Item:
    """A window of a document, or its end."""

    place: str
    text: _Text
    window: Window | None = None


def _items(documents: Iterable[Document], convention: Convention, tokenizer: Tokenizer) -> Iterator[_Item]:
    coming = iter(documents)
    first = next(coming, None)
    while first is not None:
        following: list[Document] = []
        text = _Text(first, _continuations(coming, following))
        for window in convention.windows(text, tokenizer):
            yield _Item(first.place, text, window)
        yield _Item(first.place, text)
        first = following[0] if following else None


def _continuations(coming: Iterator[Document], following: list[Document]) -> Iterator[Document]:
    """The further pieces of a document; the one after them is put into `following`."""
    for document in coming:
        if not document.continues:
            following.append(document)
            return
        yield document


def _bytes_of(window: Window, tokenizer: Tokenizer, convention: Convention) -> npt.NDArray[np.int64]:
    """Of each scored token."""
    first_of_text = int(tokenizer.add_bos and tokenizer.bos_token_id is not None and convention.name != "lm-eval")
    counts = np.array([tokenizer.num_bytes([token_id]) for token_id in window.scored], dtype=np.int64)
    if window.start + len(window.token_ids) - window.num_scored == first_of_text:
        counts[0] = tokenizer.num_bytes(window.scored[:1], begins_text=True)
    return counts


def _too_short(text: _Text, convention: Convention) -> str:
    if not text.num_bytes:
        return "the text is empty"
    return f"the text has a single token, and the convention {convention.name} needs two: the first is context"


def _report(measurement: Measurement, convention: Convention) -> PerplexityReport:
    if not measurement.num_items:
        raise RequestError("the text is empty: there is nothing to score")
    if not measurement.total.num_tokens:
        needed = f"{convention.name} scores texts of at least {convention.num_needed} tokens"
        if convention.name == "llama.cpp":
            needed += ", a whole chunk: choose a smaller context"
        raise RequestError(f"no text that could be scored: {needed}")
    nats_interval, bits_interval = measurement.intervals()
    units, resamples = measurement.units()
    return PerplexityReport(
        convention=convention,
        sums=measurement.total,
        nats_interval=nats_interval,
        bits_interval=bits_interval,
        interval_units=units,
        num_units=resamples.num_units,
        num_documents=measurement.num_documents,
        num_too_short=measurement.num_too_short,
        num_windows=measurement.num_windows,
        measurement=measurement,
    )
