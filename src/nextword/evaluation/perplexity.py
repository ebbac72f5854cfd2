"""Perplexity (textbook eq. 10.7): documents and a convention in, a report out. Memory does not grow with the texts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from nextword.data.documents import Document
from nextword.errors import DataError, RequestError
from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.conventions import Convention, num_bos
from nextword.evaluation.measurement import Measurement, Sums, safe_exp
from nextword.evaluation.scoring import batches, score_batch
from nextword.evaluation.texts import Text, texts
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
            sums = following.end_document(**_counts(item.text, convention))
            if sums.num_tokens:
                on_document(DocumentScore(place=item.text.place, sums=sums))
            elif not skip_short and convention.name != "llama.cpp":
                raise DataError(f"{item.text.place}: {_too_short(item.text, convention)}")
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


@dataclass(frozen=True)
class _Item:
    """A window of a document, or its end."""

    text: Text
    window: Window | None = None


def _items(documents: Iterable[Document], convention: Convention, tokenizer: Tokenizer) -> Iterator[_Item]:
    for text in texts(documents):
        for window in convention.windows(text, tokenizer):
            yield _Item(text, window)
        yield _Item(text)


def _counts(text: Text, convention: Convention) -> dict[str, int]:
    """What lm-eval divides by, which scores all of a text."""
    return {"num_bytes": text.num_bytes, "num_words": text.num_words} if convention.name == "lm-eval" else {}


def _bytes_of(window: Window, tokenizer: Tokenizer, convention: Convention) -> npt.NDArray[np.int64]:
    """Of each scored token."""
    first_of_text = 0 if convention.name == "lm-eval" else num_bos(tokenizer)
    first = window.start + len(window.token_ids) - window.num_scored
    return np.array(
        [
            len(tokenizer.token_bytes(token_id, begins_text=position == first_of_text))
            for position, token_id in enumerate(window.scored, first)
        ],
        dtype=np.int64,
    )


def _too_short(text: Text, convention: Convention) -> str:
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
