"""Beam search: the most probable texts, by advancing several beginnings of them, the beams, side by side.

Sampling draws one token after the other; a search keeps the `num_beams` most probable beginnings, continues each by
every token, and keeps the best again. A beginning that ends is a hypothesis, ranked by its score: the sum of its
log-probabilities / length ** length_penalty. The rules are those of transformers' `generate`, but for beams that it
fills up with copies where fewer than `num_beams` beginnings exist: here there are fewer. Beams that come from the same
one share its keys and values.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence as Seq
from typing import NamedTuple

from nextword.decoding.distribution import Distribution
from nextword.decoding.sampler import ChosenToken, score_token
from nextword.decoding.selection import largest
from nextword.errors import RequestError
from nextword.inference.append import append_token
from nextword.inference.backend import Logits
from nextword.inference.guide import GuidedSequences
from nextword.inference.sequence import FinishDetail, Request, Sequence


class _Candidate(NamedTuple):
    """A beam with one more token."""

    parent: int
    """Number of the beam."""
    token_id: int
    log_prob: float
    """Sum over the whole text, in nats."""


def advance_beams(request: Request, rows: Seq[Logits], caches: GuidedSequences) -> None:
    """Continue the beams by the logits of each, (V,); where the search is over, its best texts take their place.

    Raises RequestError if a logit is NaN or +inf, or if no text can go on and none has ended.
    """
    beams = request.running
    processed = [beam.sampler.search_logits(row) for beam, row in zip(beams, rows, strict=True)]
    parents: list[int] = []
    going: list[Sequence] = []
    width = request.params.num_beams
    for rank, candidate in enumerate(_candidates(request, beams, processed)):
        if rank >= width and len(going) == width:
            break
        number = candidate.parent
        token = _chosen(request, candidate.token_id, rows[number], processed[number][0])
        beam, detail = _continued(request, beams[number], candidate, token)
        if detail is None:
            going.append(beam)
            parents.append(number)
        elif rank < width:
            _add_hypothesis(request, beam, detail)
    if _is_over(request, going):
        if not request.hypotheses:
            raise RequestError("every token is forbidden after each beam: allow at least one")
        _end(request, beams, request.hypotheses, caches)
    else:
        request.sequences = going
        _hand_down_caches(beams, going, parents, caches)


def _candidates(request: Request, beams: Seq[Sequence], processed: Seq[tuple[Logits, float]]) -> list[_Candidate]:
    """Return the best continuations of all beams, best first: enough that `num_beams` of them are no ends."""
    num_ends = len({*request.end_token_ids, *request.params.stop_token_ids})
    most = max(2, 1 + num_ends) * request.params.num_beams
    found = []
    for number, (beam, (logits, normalizer)) in enumerate(zip(beams, processed, strict=True)):
        best = largest(logits, most)
        pairs = zip(best.tolist(), logits[best].tolist(), strict=True)
        found += [
            _Candidate(number, token_id, beam.log_prob + (logit - normalizer))
            for token_id, logit in pairs
            if logit > -math.inf
        ]
    return sorted(found, key=lambda candidate: -candidate.log_prob)[:most]  # of equal ones the first in beams and ids


def _chosen(request: Request, token_id: int, logits: Logits, processed: Logits) -> ChosenToken:
    """Return a token with the log-probabilities that the request asks for."""
    params = request.params
    if params.logprobs is None:
        return ChosenToken(token_id)
    reported = processed if params.processed_logprobs else logits
    return score_token(Distribution.from_logits(reported), token_id, num_alternatives=params.logprobs)


def _continued(
    request: Request, parent: Sequence, candidate: _Candidate, token: ChosenToken
) -> tuple[Sequence, FinishDetail | None]:
    """Return a copy of a beam with one more token, and why it ends there, if it does; it has no cache yet."""
    beam = dataclasses.replace(
        parent,
        sampler=parent.sampler.copy(),
        stream=parent.stream.copy(),
        tokens=list(parent.tokens),
        log_prob=candidate.log_prob,
    )
    beam.sampler.append(token.token_id)
    _, detail = append_token(request, beam, token)
    return beam, detail


def _add_hypothesis(request: Request, beam: Sequence, detail: FinishDetail) -> None:
    """Keep a text that has ended, if it is among the best; of equal ones the earlier comes first."""
    beam.stream.flush()
    beam.finish_detail = "stop_string" if beam.stream.stopped else detail
    beam.score = beam.log_prob / len(beam.tokens) ** request.params.length_penalty
    ranked = sorted([*request.hypotheses, beam], key=lambda one: -(one.score or 0.0))
    request.hypotheses = ranked[: request.params.num_beams]


def _is_over(request: Request, going: Seq[Sequence]) -> bool:
    """Return True if no beam goes on, or the hypotheses are complete and, by `early_stopping`, good enough."""
    params = request.params
    if not going or len(request.hypotheses) < params.num_beams or params.early_stopping == "true":
        return not going or len(request.hypotheses) == params.num_beams
    length = len(going[0].tokens)
    if params.early_stopping == "never" and params.length_penalty > 0:
        length = request.room if params.max_tokens is None else min(params.max_tokens, request.room)
    worst = request.hypotheses[-1].score
    assert worst is not None, "hypotheses have scores"
    return bool(going[0].log_prob / length**params.length_penalty <= worst)


def _hand_down_caches(beams: Seq[Sequence], going: Seq[Sequence], parents: Seq[int], caches: GuidedSequences) -> None:
    """Give each continued beam a cache: its first continuation takes it over, others a fork of it."""
    for number, beam in enumerate(beams):
        if number not in parents:
            caches.close_cache(beam.cache_id)  # first, so that there are never more caches than beams
    has_heir: set[int] = set()
    for beam, number in zip(going, parents, strict=True):
        if number in has_heir:
            beam.cache_id = caches.fork_cache(beams[number].cache_id)
        has_heir.add(number)


def cancel_search(request: Request, caches: GuidedSequences) -> None:
    """End a search that is not over: the best beams are its texts."""
    beams = request.running
    for beam in beams:
        beam.stream.flush()
        beam.finish_detail = "cancelled"
    _end(request, beams, beams, caches)


def _end(request: Request, beams: Seq[Sequence], texts: Seq[Sequence], caches: GuidedSequences) -> None:
    """End the search with the best of these texts, best first, as the request's sequences and pieces."""
    for beam in beams:
        caches.close_cache(beam.cache_id)
    request.sequences = list(texts[: request.params.n])
    for index, sequence in enumerate(request.sequences):
        sequence.index = index
        request.pieces.append(sequence.piece(sequence.stream.text))
