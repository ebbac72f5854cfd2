"""`make_app`: the routes and what stands before each of them, as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nextword.serving.disconnect import ClientGone
from nextword.serving.errors import ApiError, model_not_found, not_running
from nextword.serving.guard import Guard
from nextword.serving.handlers import JsonResponse, chat_completions, completions
from nextword.serving.security import Access
from nextword.serving.service import Service


def make_app(service: Service, access: Access | None = None) -> Starlette:
    """Return the application of a service."""
    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        ],
        exception_handlers={ApiError: _refused, HTTPException: _no_route, ClientGone: _gone},
        lifespan=_running,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.add_middleware(Guard, access=access or Access())
    return app


@contextlib.asynccontextmanager
async def _running(app: Starlette) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    try:
        yield
    finally:
        await service.stop()


async def health(request: Request) -> Response:
    """Answer `GET /health`."""
    service: Service = request.app.state.service
    if service.is_ending or not service.thread.is_alive:
        raise not_running()
    return JsonResponse({"status": "ok"})


async def models(request: Request) -> Response:
    """Answer `GET /v1/models`."""
    service: Service = request.app.state.service
    return JsonResponse({"object": "list", "data": [_model(service, name) for name in service.models]})


async def model(request: Request) -> Response:
    """Answer `GET /v1/models/{name}`."""
    service: Service = request.app.state.service
    name = request.path_params["name"]
    if name not in service.models:
        raise model_not_found(name, service.models)
    return JsonResponse(_model(service, name))


def _model(service: Service, name: str) -> dict[str, Any]:
    lm = service.lm
    meta = {
        "context": lm.engine.backend.max_seq_len,
        "vocab_size": lm.engine.backend.vocab_size,
        "num_parameters": lm.directory.num_parameters,
        "weights": lm.directory.weights_dtype,
        "license": lm.directory.license,
    }
    parent = {} if service.models[name] is None else {"parent": service.model}
    known = {"id": name, "object": "model", "created": service.created, "owned_by": "nextword"}
    return {**known, **parent, "meta": meta}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JsonResponse(error.body(), status_code=error.status, headers=error.headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        message = f"{request.method} is not allowed here: use {(error.headers or {}).get('Allow', 'another method')}"
    else:
        message = "there is no such route here; /v1/completions and /v1/chat/completions generate text"
    shown = ApiError(message, status=error.status_code, kind="not_found_error", headers=error.headers)
    return await _refused(request, shown)


async def _gone(request: Request, error: Exception) -> Response:
    """Answer nobody: 499 is what access logs have for it."""
    return Response(status_code=499)
