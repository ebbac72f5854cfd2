"""The routes that say what is served and how it is: health, models, properties."""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword import __version__
from nextword.serving.errors import not_running
from nextword.serving.handlers import JsonResponse
from nextword.serving.service import Service


async def health(request: Request) -> Response:
    """Answer `GET /health`."""
    service: Service = request.app.state.service
    if service.is_ending or not service.is_alive:
        raise not_running()
    return JsonResponse({"status": "ok"})


async def models(request: Request) -> Response:
    """Answer `GET /v1/models`."""
    service: Service = request.app.state.service
    listed = [_model(one, name) for one in service.services for name in one.models]
    return JsonResponse({"object": "list", "data": listed})


async def model(request: Request) -> Response:
    """Answer `GET /v1/models/{name}`."""
    first: Service = request.app.state.service
    name = request.path_params["name"]
    return JsonResponse(_model(first.of({"model": name}), name))


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


async def version(request: Request) -> Response:
    """Answer `GET /version`."""
    return JsonResponse({"version": __version__})


async def metrics(request: Request) -> Response:
    """Answer `GET /metrics`."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


async def props(request: Request) -> Response:
    """Answer `GET /props`: what a client can ask for, and what it gets if it does not."""
    service: Service = request.app.state.service
    backend = service.lm.engine.backend
    return JsonResponse(
        {
            "model": service.model,
            "models": service.names,
            "version": __version__,
            "system_fingerprint": service.fingerprint,
            "context": backend.max_seq_len,
            "vocab_size": backend.vocab_size,
            "cache_positions": min(backend.max_positions, 2**53),
            "chat_template": service.lm.tokenizer.chat_template,
            "default_params": dataclasses.asdict(service.lm.params(max_tokens=16)),
            "default_chat_params": dataclasses.asdict(service.lm.chat_params(max_tokens=None)),
            "limits": dataclasses.asdict(service.limits),
        }
    )
