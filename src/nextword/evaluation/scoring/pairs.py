"""`paired_pieces`: two models and a text in; out, the text's pieces in order, each with the surprisal of both models.

With one vocabulary the pieces are the tokens, and the distributions are compared as well. With two, a piece ends where
tokens of both end. Memory does not grow with the text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, tee

import numpy as np
import numpy.typing as npt

from nextword.decoding.log_softmax import log_normalizers
from nextword.errors import RequestError
from nextword.evaluation.scoring.batches import require_numbers
from nextword.evaluation.scoring.tokens import (
    ScoredToken,
    overlapping_windows,
    scored_data,
    scored_tokens,
    unscored_tokens,
)
from nextword.evaluation.scoring.windows import Window
from nextword.inference.backend import Backend, Chunk
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine, reserve_on_each

_ROWS_AT_ONCE = 64
"""Positions whose logits of both models are held: 24 MiB for a vocabulary of 49,152."""
_LONGEST_PIECE = 4096
"""Bytes of a piece; tokenizers that normalise text differently may never meet again."""

_DIFFERENT_TEXTS = "the two tokenizers do not read the same text: one of them changes it"


@dataclass(frozen=True)
class PairedPiece:
    """A piece of the text with the surprisal of both models in nats; None for a piece without context."""

    data: bytes
    """Its bytes of the text in UTF-8."""
    nats_a: float | None
    nats_b: float | None
    divergence: float | None = None
    """KL(A || B) of the two distributions in nats: the expected excess surprisal of B if A is right."""
    agrees: bool | None = None
    """True if both models have the same most probable token."""


def has_same_vocabulary(a: Engine, b: Engine) -> bool:
    """Return True if token ids mean the same to both."""
    return (a.tokenizer.fingerprint, a.tokenizer.prefix_token_ids) == (
        b.tokenizer.fingerprint,
        b.tokenizer.prefix_token_ids,
    )


def paired_pieces(a: Engine, b: Engine, pieces: Iterable[str], *, context: int) -> Iterator[PairedPiece]:
    """Score a text with both models. Raises RequestError if the tokenizers do not read the same bytes."""
    if has_same_vocabulary(a, b):
        for window in overlapping_windows(a, pieces, context=context):
            for token in unscored_tokens(window, a.tokenizer):
                yield PairedPiece(token.data, None, None)
            with reserve_on_each([a, b], whole_pages(len(window.token_ids) - 1)) as (backend_a, backend_b):
                scored = _same_tokens(backend_a, backend_b, window, scored_data(window, a.tokenizer))
            yield from scored
        return
    ours, theirs = tee(pieces)
    yield from _merged(
        scored_tokens(a, ours, context=context),
        scored_tokens(b, theirs, context=context),
    )


def _same_tokens(a: Backend, b: Backend, window: Window, tokens: Iterator[tuple[int, bytes]]) -> list[PairedPiece]:
    """Score the tokens of a window, given with their bytes, with both models."""
    pieces = []
    with contextlib.closing(_log_probs(a, window)) as all_a, contextlib.closing(_log_probs(b, window)) as all_b:
        for rows_a, rows_b in zip(all_a, all_b, strict=True):
            width = min(rows_a.shape[1], rows_b.shape[1])  # rows beyond the vocabulary only pad it
            divergences = _divergences(rows_a[:, :width], rows_b[:, :width])
            agree = rows_a[:, :width].argmax(axis=1) == rows_b[:, :width].argmax(axis=1)
            for row, (token_id, data) in enumerate(islice(tokens, len(rows_a))):
                nats_a, nats_b = -float(rows_a[row, token_id]), -float(rows_b[row, token_id])
                pieces.append(PairedPiece(data, nats_a, nats_b, float(divergences[row]), bool(agree[row])))
    return pieces


def _log_probs(backend: Backend, window: Window) -> Generator[npt.NDArray[np.float64], None, None]:
    """Yield the log-probabilities of every token at each scored position, some rows at a time: (rows, V)."""
    first = window.num_context - 1
    cache_id = backend.open_cache()
    try:
        if first:
            backend.step([Chunk(cache_id, window.token_ids[:first], 0)])
        for start in range(first, len(window.token_ids) - 1, _ROWS_AT_ONCE):
            token_ids = window.token_ids[start : min(start + _ROWS_AT_ONCE, len(window.token_ids) - 1)]
            (logits,) = backend.step([Chunk(cache_id, token_ids, len(token_ids))])
            normalizers = log_normalizers(logits)
            require_numbers(np.isfinite(normalizers))
            yield np.asarray(logits - normalizers[:, None])
    finally:
        backend.close_cache(cache_id)


def _divergences(log_a: npt.NDArray[np.float64], log_b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    probabilities = np.exp(log_a)
    with np.errstate(invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * (log_a - log_b), 0.0)
    return np.asarray(terms.sum(axis=1))


def _merged(a: Iterator[ScoredToken], b: Iterator[ScoredToken]) -> Iterator[PairedPiece]:
    """Join tokens into pieces that end where tokens of both end; a piece with an unscored token has no score."""
    for first in a:
        sides: tuple[list[ScoredToken], list[ScoredToken]] = [first], []
        while (lengths := [sum(len(token.data) for token in side) for side in sides])[0] != lengths[1]:
            shorter = 0 if lengths[0] < lengths[1] else 1
            token = next((a, b)[shorter], None)
            if token is None or max(lengths) > _LONGEST_PIECE:
                raise RequestError(_DIFFERENT_TEXTS)
            sides[shorter].append(token)
        yield PairedPiece(b"".join(token.data for token in sides[0]), _nats(sides[0]), _nats(sides[1]))
    if next(b, None) is not None:
        raise RequestError(_DIFFERENT_TEXTS)


def _nats(tokens: list[ScoredToken]) -> float | None:
    known = [token.nats for token in tokens if token.nats is not None]
    return sum(known) if len(known) == len(tokens) else None
