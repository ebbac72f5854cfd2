"""`POST /lab/measure`: how well the model predicts a text: perplexity by each convention, and token by token.

Textbook section 4: perplexity is the geometric mean of the inverse probabilities, eq. 10.7 and 10.8.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.errors import RequestError
from nextword.evaluation.conventions import CONVENTION_NAMES, ConventionName
from nextword.evaluation.scoring.tokens import ScoredToken, scored_tokens
from nextword.lab.side_work import Check, SideWork
from nextword.lab.texts import begins_of, num_characters, read_base_model, token_row
from nextword.language_model import LanguageModel
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service

MEASURE_FIELDS = ("model", "text", "selection")
MOST_TOKENS = 16_384
"""Tokens of a text, and of all texts whose figures are kept for selections in them."""
MOST_CHARACTERS = 200_000
_NUM_SURPRISING = 20
_NUM_STEPS = 48
"""Scored tokens up to which the perplexity is shown step by step."""
_LLAMA_CPP_CONTEXT = 512
_HELP = {
    "sliding": "Windows of the whole context; the first token of a text is context alone.",
    "llama.cpp": "Chunks of 512 tokens, of a shorter text as many as it has; the second half of each is scored.",
    "lm-eval": "Every token is scored, the first one after the token that begins or ends a text.",
}


class Measure:
    """The route, with the figures of the texts measured last."""

    def __init__(self, side_work: SideWork) -> None:
        self._side_work = side_work
        self._kept: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    async def answer(self, request: Request) -> Response:
        """Answer `POST /lab/measure`."""
        service, body = await read_request(request)
        model = read_base_model(service, body, "texts are measured by the base model alone")
        fields = Fields(body, MEASURE_FIELDS)
        text = fields.take("text", str, "")
        found = self._kept.get((model, text))
        if found is None:
            found = await self._side_work.run(service, request, lambda check: _measured(service, text, check))
            self._kept[model, text] = found
            while len(self._kept) > 1 and sum(len(one["tokens"]) for one in self._kept.values()) > MOST_TOKENS:
                self._kept.popitem(last=False)
        selected = {"selection": _selected(found["tokens"], text, body["selection"])} if fields.has("selection") else {}
        return JsonResponse({"object": "lab.measure", "model": model, **found, **selected})


def _measured(service: Service, text: str, check: Check) -> dict[str, Any]:
    num_tokens = _num_tokens(service.lm, text)
    tokens = list(scored_tokens(service.lm.engine, [text]))
    check()
    conventions = []
    for name in CONVENTION_NAMES:
        conventions.append(_convention(service.lm, name, text, num_tokens))
        check()
    nats = [one.nats for one in tokens if one.nats is not None]
    first = len(tokens) - len(nats)
    total_bits = math.fsum(nats) / math.log(2)
    scored_text = b"".join(one.data for one in tokens[first:])
    begins = begins_of([one.data for one in tokens])
    return {
        "tokens": [_row(service, one, begin) for one, begin in zip(tokens, begins, strict=True)],
        "conventions": conventions,
        "total_nats": math.fsum(nats),
        "bits_per_byte": total_bits / len(scored_text) if scored_text else None,
        "bits_per_character": total_bits / max(num_characters(scored_text), 1),
        "running_mean": [total / number for number, total in enumerate(itertools.accumulate(nats), 1)],
        "most_surprising": [first + index for index in _largest(nats)],
        "steps": _steps(service, tokens[first:]) if len(nats) <= _NUM_STEPS else [],
    }


def _num_tokens(lm: LanguageModel, text: str) -> int:
    """Return the number of tokens of a text that can be measured. Raises ApiError for another."""
    if len(text) > MOST_CHARACTERS:
        message = f"text: at most {MOST_CHARACTERS} characters are measured here; nextword perplexity measures any"
        raise ApiError(message, param="text")
    num_tokens = len(lm.tokenizer.encode_prompt(text)) if text else 0
    if num_tokens < 2:
        message = f"text: has {num_tokens} tokens, and two are needed at least: the first is context"
        raise ApiError(message, param="text")
    if num_tokens > MOST_TOKENS:
        message = f"text: has {num_tokens} tokens, and at most {MOST_TOKENS} are measured here"
        raise ApiError(f"{message}; nextword perplexity measures any", param="text")
    return num_tokens


def _convention(lm: LanguageModel, name: ConventionName, text: str, num_tokens: int) -> dict[str, Any]:
    """Return the perplexity by one convention, or the reason why there is none."""
    limit = lm.engine.backend.max_seq_len
    context = max(min(_LLAMA_CPP_CONTEXT, num_tokens, limit), 3) if name == "llama.cpp" else limit
    known = {"name": name, "context": context, "help": _HELP[name]}
    try:
        report = lm.perplexity(text, convention=name, context=context)
    except RequestError as error:
        return {**known, "perplexity": None, "interval": None, "num_tokens": 0, "problem": str(error)}
    interval = report.perplexity_interval
    return {
        **known,
        "perplexity": _finite(report.perplexity),
        "interval": None if interval is None else [_finite(interval.low), _finite(interval.high)],
        "num_tokens": report.num_tokens,
        "bits_per_byte": _finite(report.bits_per_byte),
    }


def _row(service: Service, token: ScoredToken, begin: int) -> dict[str, Any]:
    """Return a token with its scores and the character at which it begins."""
    vocabulary = service.vocabulary
    if token.nats is None or token.rank is None or token.entropy is None:
        unscored = {"log_prob": None, "rank": None, "entropy": None}
        return {**vocabulary.named(token.token_id), **unscored, "begin": begin}
    return {**token_row(vocabulary, token.token_id, token.nats, token.rank, token.entropy), "begin": begin}


def _largest(nats: Sequence[float]) -> list[int]:
    return sorted(range(len(nats)), key=lambda index: -nats[index])[:_NUM_SURPRISING]


def _steps(service: Service, tokens: Sequence[ScoredToken]) -> list[dict[str, Any]]:
    """Return eq. 10.8 a factor at a time: 1/P(token), their product so far, and its root, the perplexity so far."""
    steps, total = [], 0.0
    for number, token in enumerate(tokens, 1):
        nats = token.nats or 0.0
        total += nats
        steps.append(
            {
                **service.vocabulary.named(token.token_id),
                "probability": math.exp(-nats),
                "inverse": _exp(nats),
                "product": _exp(total),
                "perplexity": _exp(total / number),
            }
        )
    return steps


def _selected(rows: Sequence[dict[str, Any]], text: str, selection: Any) -> dict[str, Any]:
    """Return the figures of the tokens of which a part lies between two characters. Raises ApiError."""
    allowed = f"must be two characters' numbers [from, to], 0 <= from <= to <= {len(text)}"
    if not (isinstance(selection, list) and len(selection) == 2 and all(type(one) is int for one in selection)):
        raise ApiError(f"selection = {shown(selection)}: {allowed}", param="selection")
    begin, end = selection
    if not 0 <= begin <= end <= len(text):
        raise ApiError(f"selection = {shown(selection)}: {allowed}", param="selection")
    ends = [*(row["begin"] for row in rows[1:]), len(text)]
    inside = [
        -row["log_prob"]
        for row, until in zip(rows, ends, strict=True)
        if row["log_prob"] is not None and row["begin"] < end and max(until, row["begin"] + 1) > begin
    ]
    nats, total = math.fsum(inside), math.fsum(-row["log_prob"] for row in rows if row["log_prob"] is not None)
    perplexity = _exp(nats / len(inside)) if inside else None
    return {"num_tokens": len(inside), "nats": nats, "share": nats / total if total else 0.0, "perplexity": perplexity}


def _exp(nats: float) -> float | None:
    return None if nats > 709 else math.exp(nats)


def _finite(value: float) -> float | None:
    """Return a figure as JSON can have it; None for one that is beyond all numbers."""
    return value if math.isfinite(value) else None
