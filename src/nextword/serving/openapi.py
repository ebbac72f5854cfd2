"""`GET /openapi.json`: routes and fields as an OpenAPI description, made from the tables that the code reads."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nextword import __version__
from nextword.decoding.params import SamplingParams
from nextword.serving.asked import CHAT_FIELDS, COMPLETION_FIELDS
from nextword.serving.distribution import DISTRIBUTION_FIELDS
from nextword.serving.handlers import JsonResponse
from nextword.serving.responses import FIELDS as RESPONSE_FIELDS
from nextword.serving.sampling_fields import ALIASES
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
_STRING, _BOOL, _OBJECT = ({"type": kind} for kind in ("string", "boolean", "object"))
_IDS = {"type": "array", "items": {"type": "integer"}}
_TEXT_OR_IDS = {"anyOf": [_STRING, _IDS]}
_TEXTS = {"anyOf": [_STRING, {"type": "array", "items": _STRING}]}
_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string"}
_SHAPES: Mapping[str, Any] = {
    "prompt": {"anyOf": [_STRING, {"type": "array", "minItems": 1}]},
    "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
    "tokens": _IDS,
    "continuations": {"type": "array", "minItems": 1, "items": _TEXT_OR_IDS},
    "top": {"type": "integer", "minimum": 0},
    "at": {"anyOf": [{"const": "last"}, _IDS]},
    "show": _IDS,
    "prompt_length": {"type": "integer", "minimum": 1},
    "sample_index": {"type": "integer", "minimum": 0},
    "stop": _TEXTS,
    "choice": _TEXTS,
    "dry_sequence_breakers": _TEXTS,
    "stop_token_ids": _IDS,
    "logit_bias": {"type": "object", "additionalProperties": {"type": "number"}},
    "schema": {"anyOf": [_OBJECT, _STRING, _BOOL]},
    "logprobs": {"type": ["boolean", "integer"]},
    "early_stopping": {"type": ["boolean", "string"]},
    **dict.fromkeys(("model", "content", "negative_prompt", "search"), _STRING),
    **dict.fromkeys(("stream_options", "prediction", "chat_template_kwargs", "response_format"), _OBJECT),
    **dict.fromkeys(("stream", "ignore_eos", "return_token_ids", "continue_final_message", "with_pieces"), _BOOL),
}
"""Schemas of fields that are no numbers."""
_ERROR = {
    "description": "An error in OpenAI's form.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"]}},
            }
        }
    },
}
_STATUSES = ("400", "401", "403", "404", "408", "413", "415", "429", "431", "500", "503")


async def openapi(request: Request) -> Response:
    """Answer `GET /openapi.json`."""
    shown = (route for route in request.app.routes if isinstance(route, Route) and route.include_in_schema)
    return JsonResponse(describe(shown))


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the description of these routes."""
    paths = {route.path.replace(":path", ""): _path(route) for route in routes}
    return {"openapi": "3.1.0", "info": {"title": "nextword", "version": __version__}, "paths": paths}


def _path(route: Route) -> dict[str, Any]:
    responses = {"200": {"description": "The answer."}, **dict.fromkeys(_STATUSES, _ERROR)}
    operation: dict[str, Any] = {"operationId": route.name, "responses": responses}
    if "{" in route.path:
        operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": _STRING}]
    if route.path in BODIES:
        content = {"application/json": {"schema": _body(*BODIES[route.path])}}
        operation["requestBody"] = {"required": True, "content": content}
    methods = route.methods or ()
    return {next(method.lower() for method in ("POST", "DELETE", "GET") if method in methods): operation}


def _body(names: Iterable[str], required: tuple[str, ...]) -> dict[str, Any]:
    hints = typing.get_type_hints(SamplingParams)
    known = {field.name: hints[field.name] for field in dataclasses.fields(SamplingParams)}
    properties = {name: _shape(name, known.get(ALIASES.get(name, name))) for name in names}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _shape(name: str, hint: Any) -> dict[str, Any]:
    """Return the schema of a field; {} for one that may be anything, null included for all."""
    shape = _SHAPES.get(name)
    if shape is None:
        plain = next((_PLAIN[one] for one in (hint, *typing.get_args(hint)) if one in _PLAIN), None)
        return {} if plain is None else {"type": [plain, "null"]}
    return {"anyOf": [shape, {"type": "null"}]}
