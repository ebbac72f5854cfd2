"""`POST /lab/read`: the tokens of a text that stands, with the scores that colour them."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from nextword.inference.text_scores import joined, score_in_pieces
from nextword.lab.texts import TEXT_FIELDS, read_model, read_number, read_text, text_rows
from nextword.serving.disconnect import until_disconnected
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service

READ_FIELDS = ("model", "prompt_length", *TEXT_FIELDS)


async def read(request: Request) -> Response:
    """Answer `POST /lab/read`."""
    service, body = await read_request(request)
    model, adapter = read_model(service, body)

    def work() -> tuple[list[int], int]:
        fields = Fields(body, READ_FIELDS)
        token_ids = read_text(service, fields)
        return token_ids, read_number(fields, "prompt_length", 0, len(token_ids), len(token_ids))

    token_ids, prompt_length = await service.in_thread(work)
    scored = scored_text(service, token_ids, adapter)
    rows = await until_disconnected(request.receive, scored)
    answer = {"object": "lab.read", "model": model, "tokens": rows, "prompt_length": prompt_length}
    return await service.in_thread(lambda: JsonResponse(answer))


async def scored_text(service: Service, token_ids: list[int], adapter: str | None) -> list[dict[str, object]]:
    """Return a row for each token of a text."""
    if len(token_ids) < 2:
        return text_rows(service.vocabulary, token_ids, None)
    work = partial(score_in_pieces, service.lm.engine, token_ids, adapter=adapter)
    parts = await service.compute(work, len(token_ids))
    return await service.in_thread(lambda: text_rows(service.vocabulary, token_ids, joined(parts)))
