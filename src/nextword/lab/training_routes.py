"""The routes of the training in the page's view: start, stop, go on, and its events as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from nextword.decoding.param_checks import Number
from nextword.lab.texts import read_number
from nextword.lab.training import DEFAULT_TEXT, Training
from nextword.serving.errors import ApiError
from nextword.serving.event_stream import HEADERS, PING, PING_SECONDS, encoded
from nextword.serving.fields import Fields, with_param
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service

TRAINING_FIELDS = ("text", "steps", "seed", "lr")
MOST_STEPS = 2000
_DEFAULT_STEPS = 400
_DEFAULT_LR = 0.004
_MOST_DIFFERENT = 8_192
"""Different characters of a text: the model's memory grows with them."""
_SHORTEST, _LONGEST = 2_000, 2_000_000
"""Characters of a text."""


class TrainingRoutes:
    """The routes of one server."""

    def __init__(self) -> None:
        self._training = Training()
        self._is_known = False

    async def start(self, request: Request) -> Response:
        """Answer `POST /lab/training`."""
        service, body = await read_request(request)
        fields = Fields(body, TRAINING_FIELDS)
        settings = {
            "steps": read_number(fields, "steps", 1, MOST_STEPS, _DEFAULT_STEPS),
            "seed": read_number(fields, "seed", 0, 2**53, 0),
            "lr": with_param("lr", Number(float, 0, 1, above_low=True), "lr", body.get("lr") or _DEFAULT_LR),
        }
        text = fields.take("text", str)
        if text is not None and not _SHORTEST <= len(text) <= _LONGEST:
            allowed = f"must have from {_SHORTEST:,} to {_LONGEST:,}, or be left out for Shakespeare"
            raise ApiError(f"text: has {len(text):,} characters: {allowed}", param="text")
        if text is not None and (num_different := len(set(text))) > _MOST_DIFFERENT:
            allowed = f"must have at most {_MOST_DIFFERENT:,}, each of which is a token"
            raise ApiError(f"text: has {num_different:,} different characters: {allowed}", param="text")
        if not self._is_known:
            service.at_end.append(self._training.close)
            self._is_known = True
        await self._training.start(DEFAULT_TEXT.read_text(encoding="utf-8") if text is None else text, settings)
        return self._state()

    async def stop(self, request: Request) -> Response:
        """Answer `POST /lab/training/stop`, once the run stands still."""
        await self._without_fields(request)
        await self._training.stop()
        return self._state()

    async def go_on(self, request: Request) -> Response:
        """Answer `POST /lab/training/continue`."""
        await self._without_fields(request)
        await self._training.go_on()
        return self._state()

    async def events(self, request: Request) -> Response:
        """Answer `GET /lab/training/events`: all events of the run so far, then those to come, until its end."""
        service: Service = request.app.state.service
        return StreamingResponse(self._written(service), headers=HEADERS)

    async def _written(self, service: Service) -> AsyncIterator[bytes]:
        last = time.monotonic()
        async for event in self._training.events():
            if service.is_ending:
                return
            if event is not None or time.monotonic() - last > PING_SECONDS:
                last = time.monotonic()
                yield PING if event is None else encoded([event])

    async def _without_fields(self, request: Request) -> None:
        _, body = await read_request(request)
        Fields(body, ("model",))

    def _state(self) -> Response:
        return JsonResponse({"object": "lab.training", "state": self._training.state})
