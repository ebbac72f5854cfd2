"""`POST /v1/distribution`: the distribution of the next token, before and after each step of sampling."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from nextword.decoding.distribution import Distribution
from nextword.decoding.param_checks import Number
from nextword.decoding.params import SamplingParams
from nextword.decoding.processors import penalized_logits, seen_tokens, stages
from nextword.decoding.random_stream import RANDOM_BITS, random_numbers
from nextword.serving.asked import Asked
from nextword.serving.disconnect import until_disconnected
from nextword.serving.errors import ApiError
from nextword.serving.fields import parse_json, with_param
from nextword.serving.handlers import JsonResponse, read_body
from nextword.serving.preparing import prepare
from nextword.serving.service import Service

_MOST_ROWS = 1000
"""Rows of a table."""


async def distribution(request: Request) -> Response:
    """Answer `POST /v1/distribution`: the fields of a completion or of a chat, and `top`, the rows of each table."""
    service: Service = request.app.state.service
    data = await read_body(request)
    asked, prompt, top = await service.in_thread(lambda: _read(service, parse_json(data, service.limits)))
    engine = service.lm.engine

    def work() -> list[Distribution]:
        return [engine.next_distribution(prompt, adapter=asked.adapter)]

    (raw,) = await until_disconnected(request.receive, service.compute(work, len(prompt)))
    described = await service.in_thread(lambda: describe(raw, prompt, asked.params, top=top))
    return JsonResponse({"object": "distribution", "model": asked.model, "position": len(prompt), **described})


def describe(raw: Distribution, prompt: list[int], params: SamplingParams, *, top: int) -> dict[str, Any]:
    """Return the model's distribution and what each step leaves of it, and the draw where there is a seed."""
    number, coin = random_numbers(params.seed or 0, sample_index=0, position=len(prompt))
    steps = list(_steps(raw, prompt, params, None if params.seed is None else coin))
    shown = [
        {
            "name": name,
            "num_tokens": len(one),
            "mass": _mass(raw, one),
            "entropy": one.entropy,
            "top": [dataclasses.asdict(row) for row in one.table(top).rows],
        }
        for name, one in steps
    ]
    return {"steps": shown, "draw": None if params.seed is None else _draw(steps[-1][1], number, params)}


def _steps(
    raw: Distribution, prompt: list[int], params: SamplingParams, coin: int | None
) -> Iterator[tuple[str, Distribution]]:
    yield "model", raw
    logits = np.full(raw.vocab_size, -np.inf, dtype=np.float32)
    logits[slice(None) if raw.kept is None else raw.kept] = raw.logits
    changed = penalized_logits(logits, params, seen_tokens(prompt, params))
    first = raw
    if changed is not logits:
        first = Distribution.from_logits(changed, token_text=raw.token_text)
        yield "penalties", first
    yield from stages(first, params, coin=coin)


def _mass(raw: Distribution, left: Distribution) -> float:
    """Return the probability that the model gives to the tokens that are left."""
    if left.kept is None:
        return 1.0
    return min(math.fsum(math.exp(raw.log_prob(int(token_id))) for token_id in left.kept), 1.0)


def _draw(last: Distribution, number: int, params: SamplingParams) -> dict[str, Any]:
    """Return the token that the seed draws, the number it was drawn by, and the token's interval of the cumulation."""
    token_id = last.argmax() if params.is_greedy else last.draw(number)
    ids = np.arange(last.vocab_size) if last.kept is None else last.kept
    before = math.fsum(math.exp(last.log_prob(int(one))) for one in ids[ids < token_id])
    own = math.exp(last.log_prob(token_id))
    return {"token_id": token_id, "number": number / 2**RANDOM_BITS, "interval": [before, min(before + own, 1.0)]}


def _read(service: Service, body: Mapping[str, Any]) -> tuple[Asked, list[int], int]:
    """Return what is asked for, the prompt as token ids, and the rows of a table."""
    top = with_param("top", Number(int, 1, _MOST_ROWS), "top", body.get("top", 50))
    others = {name: value for name, value in body.items() if name != "top" and value is not None}
    reading: Callable[[Mapping[str, Any]], Any] = (
        service.reader.chat if "messages" in others else service.reader.completion
    )
    asked = reading(others)
    requests = prepare(service.lm.engine, asked)
    if len(requests) > 1:
        raise ApiError(f"prompt: has {len(requests)} prompts: must be one", param="prompt")
    return asked, requests[0].prompt_token_ids, top
