"""`POST /lab/replay`: where the same seed, with other parameters, would have taken another token.

The rows of logits of the text stand already, so nothing is generated; only rows that are not stored are computed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.decoding.distribution import Distribution
from nextword.decoding.params import SamplingParams
from nextword.inference.backend import Logits
from nextword.lab.texts import check_length, read_number, read_token_ids
from nextword.serving.disconnect import until_disconnected
from nextword.serving.distribution import of_any_length, refuse_unseen, sampler_of, with_rows_of_logits
from nextword.serving.distribution_rows import token_row
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service

REPLAY_FIELDS = ("model", "token_ids", "prompt_length", "params", "sample_index")


@dataclass(frozen=True)
class _Asked:
    model: str
    adapter: str | None
    token_ids: list[int]
    prompt_length: int
    params: SamplingParams
    sample_index: int


async def replay(request: Request) -> Response:
    """Answer `POST /lab/replay`."""
    service, body = await read_request(request)
    asked = await service.in_thread(lambda: _read(service, body))
    end = min(len(asked.token_ids), asked.prompt_length + service.logit_rows.most_rows)
    positions, is_over = set(range(asked.prompt_length, end)), threading.Event()
    work = with_rows_of_logits(
        service, asked.token_ids, positions, asked.adapter, lambda rows: _first_other(service, asked, rows, is_over)
    )
    try:
        found = await until_disconnected(request.receive, work)
    finally:
        is_over.set()
    return JsonResponse(
        {"object": "lab.replay", "model": asked.model, **found, "complete": end == len(asked.token_ids)}
    )


def _first_other(
    service: Service, asked: _Asked, rows: Mapping[int, Logits], is_over: threading.Event
) -> dict[str, Any]:
    """Draw the tokens again until one is another; that one ends the text, so nothing after it is the same text.

    `is_over`: set once nobody waits for the answer any more.
    """
    prompt = asked.token_ids[: asked.prompt_length]
    ends = service.lm.tokenizer.eos_token_ids
    sampler = sampler_of(service, asked.params, prompt, end_token_ids=ends, sample_index=asked.sample_index)
    for position in sorted(rows):
        if is_over.is_set():
            break
        drawn = sampler.choose(rows[position]).token_id
        if drawn != asked.token_ids[position]:
            raw = Distribution.from_logits(rows[position])
            row = token_row(service.vocabulary, raw, rows[position], drawn)
            return {"first": position, "token": row, "checked": position + 1 - asked.prompt_length}
    return {"first": None, "token": None, "checked": len(rows)}


def _read(service: Service, body: Mapping[str, Any]) -> _Asked:
    fields = Fields(body, REPLAY_FIELDS)
    token_ids = read_token_ids(service, body.get("token_ids"), "token_ids")
    check_length(service, token_ids, "token_ids")
    given = fields.take("params", Mapping[str, Any], {})
    named = {"model": body["model"]} if fields.has("model") else {}
    completion = service.reader.completion({**of_any_length(given), **named, "prompt": token_ids})
    refuse_unseen(completion.params)
    if completion.params.seed is None and not completion.params.is_greedy:
        raise ApiError("params.seed: must be there, as in the request that wrote the text", param="params")
    return _Asked(
        model=completion.model,
        adapter=completion.adapter,
        token_ids=token_ids,
        prompt_length=read_number(fields, "prompt_length", 1, len(token_ids), 1),
        params=completion.params,
        sample_index=read_number(fields, "sample_index", 0, service.limits.max_n - 1, 0),
    )
