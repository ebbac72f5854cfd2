"""`GET /openapi.json`: routes and fields as an OpenAPI description, made from the tables that the code reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nextword import __version__
from nextword.serving.answer_shapes import CHUNKS, ERROR, WHOLE
from nextword.serving.asked import CHAT_FIELDS, COMPLETION_FIELDS
from nextword.serving.distribution import DISTRIBUTION_FIELDS
from nextword.serving.field_schemas import body_schema
from nextword.serving.handlers import JsonResponse
from nextword.serving.limits import Limits
from nextword.serving.responses import FIELDS as RESPONSE_FIELDS
from nextword.serving.scoring import SCORE_FIELDS
from nextword.serving.tokenizing import DETOKENIZE_FIELDS, TEMPLATE_FIELDS, TOKENIZE_FIELDS

BODIES: Mapping[str, tuple[Iterable[str], tuple[str, ...]]] = {
    "/v1/completions": (COMPLETION_FIELDS, ("prompt",)),
    "/v1/chat/completions": (CHAT_FIELDS, ("messages",)),
    "/v1/responses": (RESPONSE_FIELDS, ("input",)),
    "/v1/distribution": (dict.fromkeys((*COMPLETION_FIELDS, *CHAT_FIELDS, *DISTRIBUTION_FIELDS)), ()),
    "/v1/score": (SCORE_FIELDS, ("prompt", "continuations")),
    "/tokenize": (TOKENIZE_FIELDS, ()),
    "/detokenize": (DETOKENIZE_FIELDS, ("tokens",)),
    "/apply-template": (TEMPLATE_FIELDS, ("messages",)),
}
"""Fields of the body of each route that has one, and those that must be there."""
_ERROR = {"description": "An error in OpenAI's form.", "content": {"application/json": {"schema": ERROR}}}
_STATUSES = ("400", "401", "403", "404", "405", "408", "413", "415", "429", "431", "500", "503")


async def openapi(request: Request) -> Response:
    """Answer `GET /openapi.json`."""
    shown = (route for route in request.app.routes if isinstance(route, Route) and route.include_in_schema)
    return JsonResponse(describe(shown, request.app.state.service.limits))


def describe(routes: Iterable[Route], limits: Limits) -> dict[str, Any]:
    """Return the description of these routes."""
    paths = {route.path.replace(":path", ""): _path(route, limits) for route in routes}
    return {"openapi": "3.1.0", "info": {"title": "nextword", "version": __version__}, "paths": paths}


def _path(route: Route, limits: Limits) -> dict[str, Any]:
    found = {"description": "The answer.", "content": _contents(route.path.replace(":path", ""))}
    responses = {"200": found, **dict.fromkeys(_STATUSES, _ERROR)}
    operation: dict[str, Any] = {"operationId": route.name, "responses": responses}
    if "{" in route.path:
        operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    if route.path in BODIES:
        content = {"application/json": {"schema": body_schema(route.path, *BODIES[route.path], limits)}}
        operation["requestBody"] = {"required": True, "content": content}
    methods = route.methods or ()
    return {next(method.lower() for method in ("POST", "DELETE", "GET") if method in methods): operation}


def _contents(path: str) -> dict[str, Any]:
    """Return what an answer may hold: text, an object, or a stream, whose schema is that of each event."""
    if path == "/metrics":
        return {"text/plain": {}}
    found = {"application/json": {"schema": WHOLE.get(path, {})}}
    if path in CHUNKS:
        data = {"type": "string", "contentMediaType": "application/json", "contentSchema": CHUNKS[path]}
        found["text/event-stream"] = {"schema": {"type": "object", "properties": {"data": data}, "required": ["data"]}}
    return found
