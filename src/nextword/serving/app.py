"""`make_app`: the routes and what stands before each of them, as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nextword.serving.distribution import distribution
from nextword.serving.elsewhere import ROUTES
from nextword.serving.errors import ApiError
from nextword.serving.guard import LONGEST_METHOD, Guard
from nextword.serving.handlers import JsonResponse, chat_completions, completions
from nextword.serving.information import health, metrics, model, models, props, version
from nextword.serving.openapi import openapi
from nextword.serving.responses import responses
from nextword.serving.running_requests import cancel, requests
from nextword.serving.scoring import score
from nextword.serving.security import Access
from nextword.serving.service import Service
from nextword.serving.tokenizing import apply_template, detokenize, tokenize, tokenizer_info


def make_app(service: Service, access: Access | None = None, *, routes: Sequence[Route] = ()) -> Starlette:
    """Return the application of a service; `routes`: further ones, under the same guard."""
    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/v1/requests", requests),
            Route("/v1/requests/{name}", cancel, methods=["DELETE"]),
            Route("/version", version),
            Route("/openapi.json", openapi),
            Route("/props", props),
            Route("/metrics", metrics),
            Route("/tokenizer_info", tokenizer_info),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/detokenize", detokenize, methods=["POST"]),
            Route("/apply-template", apply_template, methods=["POST"]),
            Route("/v1/score", score, methods=["POST"]),
            Route("/v1/distribution", distribution, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/responses", responses, methods=["POST"]),
            *routes,
        ],
        exception_handlers={ApiError: _refused, HTTPException: _no_route},
        lifespan=_running,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.add_middleware(Guard, access=access or Access(), max_header_bytes=service.limits.max_header_bytes)
    return app


@contextlib.asynccontextmanager
async def _running(app: Starlette) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    try:
        yield
    finally:
        await service.stop()


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JsonResponse(error.body(), status_code=error.status, headers=error.headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method[:LONGEST_METHOD]} is not allowed here: use {allowed}"
    else:
        known = next((one for one in ROUTES if f"{request.url.path}/".startswith(f"{one}/")), None)
        name = "there is no such route here" if known is None else f"{known}: is not served here"
        message = f"{name}; /openapi.json lists the routes, of which /v1/chat/completions generates text"
    shown = ApiError(message, status=error.status_code, kind="not_found_error", headers=error.headers)
    return await _refused(request, shown)
