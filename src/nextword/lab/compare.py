"""`POST /lab/compare`: one text as two models read it, and by how much one finds each stretch of it more probable.

Two models with other tokens cannot be compared token by token. Log-probabilities of tokens add up to those of the text
that they spell, so the stretches are compared at whose ends tokens of both end; of equal tokens, these are the tokens.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.lab.read import scored_text
from nextword.lab.texts import begins_of, is_within, num_characters, read_number, read_text
from nextword.serving.disconnect import until_disconnected
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service

COMPARE_FIELDS = ("models", "text", "token_ids", "prompt_length")
_OTHER_TEXTS = "the two tokenizers do not read the same text: one of them changes it"


@dataclass(frozen=True)
class _Side:
    """A model, and the text as its tokens."""

    service: Service
    model: str
    token_ids: list[int]

    @property
    def num_before(self) -> int:
        """Number of tokens before the text, such as BOS."""
        prefix = self.service.lm.tokenizer.prefix_token_ids
        return len(prefix) if self.token_ids[: len(prefix)] == list(prefix) else 0

    @property
    def data(self) -> list[bytes]:
        """The bytes of the text that each token stands for."""
        tokenizer, first = self.service.lm.tokenizer, self.num_before
        return [
            tokenizer.token_bytes(token_id, begins_text=at == first) if at >= first else b""
            for at, token_id in enumerate(self.token_ids)
        ]


@dataclass(frozen=True)
class _Span:
    """A stretch of the text: its tokens on each side, from one index to before another."""

    a: range
    b: range
    begin: int
    """Character at which it begins, and before which it ends."""
    end: int


async def compare(request: Request) -> Response:
    """Answer `POST /lab/compare`."""
    first, body = await read_request(request)
    fields = Fields(body, COMPARE_FIELDS)
    a, b = await first.in_thread(lambda: _read(first, fields))
    prompt_length = read_number(fields, "prompt_length", 0, len(a.token_ids), 0)
    if prompt_length and not fields.has("token_ids"):
        raise ApiError("prompt_length: counts tokens, and may be given with token_ids alone", param="prompt_length")
    rows = []
    for side in (a, b):
        scored = scored_text(side.service, side.token_ids, side.service.models[side.model])
        rows.append(await until_disconnected(request.receive, scored))
    return JsonResponse(await first.in_thread(lambda: _compared((a, b), rows, prompt_length)))


def _read(first: Service, fields: Fields) -> tuple[_Side, _Side]:
    """Return both sides. Raises ApiError for a text that one of them cannot read."""
    names = fields.body.get("models")
    if not (isinstance(names, list) and len(names) == 2 and all(isinstance(name, str) for name in names)):
        raise ApiError(f"models = {shown(names)}: must be a list of two of {', '.join(first.names)}", param="models")
    services = [first.of({"model": name}) for name in names]
    a, b = (_Side(service, name, read_text(service, fields)) for service, name in zip(services, names, strict=True))
    if fields.has("token_ids") and not _are_same_tokens(a, b):
        message = f"token_ids: some are other tokens of {a.model} than of {b.model}: send the text"
        raise ApiError(message, param="token_ids")
    return a, b


def _are_same_tokens(a: _Side, b: _Side) -> bool:
    """Return True if both read the text as the same tokens, which have the same meaning."""
    names = [side.service.vocabulary.named for side in (a, b)]
    return a.token_ids == b.token_ids and all(names[0](one) == names[1](one) for one in set(a.token_ids))


def _compared(sides: tuple[_Side, _Side], rows: Sequence[list[dict[str, Any]]], prompt_length: int) -> dict[str, Any]:
    """Return the answer: both readings, and the spans that both have."""
    a, b = sides
    data = [side.data for side in sides]
    for of_side, pieces in zip(rows, data, strict=True):
        for row, begin in zip(of_side, begins_of(pieces), strict=True):
            row["begin"] = begin
    is_same = _are_same_tokens(a, b)
    problem = None if is_same or b"".join(data[0]) == b"".join(data[1]) else _OTHER_TEXTS
    found = [] if problem else list(_tokens(a, data[0]) if is_same else _stretches(data))
    spans = [_described(span, rows) for span in found]
    return {
        "object": "lab.compare",
        "is_same_tokens": is_same,
        "sides": [{"model": side.model, "tokens": of_side} for side, of_side in zip(sides, rows, strict=True)],
        "spans": spans,
        "totals": _totals([span for span in spans if span["tokens"][0][0] >= prompt_length]),
        "problem": problem,
    }


def _tokens(side: _Side, data: Sequence[bytes]) -> Iterator[_Span]:
    """Yield each token of the text as a span."""
    ends = list(itertools.accumulate(map(num_characters, data)))
    for at, begin in enumerate(begins_of(data)):
        if at >= side.num_before:
            yield _Span(range(at, at + 1), range(at, at + 1), begin, ends[at])


def _stretches(data: Sequence[Sequence[bytes]]) -> Iterator[_Span]:
    """Yield the smallest stretches of bytes at whose ends tokens of both sides end."""
    ends = [list(itertools.accumulate(map(len, pieces))) for pieces in data]
    text = b"".join(data[0])
    characters = [0, *itertools.accumulate(not is_within(byte) for byte in text)]
    before, places = 0, [bisect.bisect_right(of_side, 0) for of_side in ends]
    for end in sorted(set(ends[0]) & set(ends[1]) - {0}):
        last = [bisect.bisect_right(of_side, end) for of_side in ends]
        a, b = (range(*pair) for pair in zip(places, last, strict=True))
        yield _Span(a, b, characters[before] - is_within(text[before]), characters[end])
        before, places = end, last


def _described(span: _Span, rows: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    known = [[of_side[at]["log_prob"] for at in one] for one, of_side in zip((span.a, span.b), rows, strict=True)]
    sums = None if any(None in of_side for of_side in known) else [math.fsum(of_side) for of_side in known]
    return {
        "tokens": [[span.a.start, span.a.stop], [span.b.start, span.b.stop]],
        "begin": span.begin,
        "end": span.end,
        "log_probs": sums,
        "difference": None if sums is None else sums[1] - sums[0],
    }


def _totals(spans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over the spans that both sides score."""
    pairs = [span["log_probs"] for span in spans if span["log_probs"] is not None]
    a, b = (math.fsum(pair[side] for pair in pairs) for side in (0, 1))
    return {"num_spans": len(pairs), "log_probs": [a, b], "difference": b - a}
