"""`field_schema`: the JSON schema of a field of a request, made from the checks that the code does where it can be."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from nextword.decoding.param_checks import Number
from nextword.decoding.params import EarlyStopping, ProcessorOrder, SamplingParams
from nextword.serving.elsewhere import IGNORED, NOT_SERVED
from nextword.serving.forms_of_text import NAMED, STRUCTURED
from nextword.serving.limits import Limits
from nextword.serving.reports import FLAGS, REQUEST_ID
from nextword.serving.responses import NOT_SERVED as NOT_SERVED_IN_RESPONSES
from nextword.serving.sampling_fields import ALIASES

Schema = dict[str, Any]
_STRING, _BOOL, _OBJECT, _INTEGER = ({"type": kind} for kind in ("string", "boolean", "object", "integer"))
_IDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_TEXT_OR_IDS = {"anyOf": [_STRING, {**_IDS, "minItems": 1}]}
_WORDS: Schema = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {**_STRING, "minLength": 1}}]
}
_TYPES: Mapping[Any, Schema] = {str: _STRING, bool: _BOOL, int: _INTEGER, Mapping[str, Any]: _OBJECT, Any: {}}
_JSON_SCHEMA: Schema = {"anyOf": [_OBJECT, _STRING, _BOOL]}
_POSITIVE: Schema = {"type": "integer", "minimum": 1}


def _closed(properties: Mapping[str, Schema], *required: str) -> Schema:
    nullable = {name: one if name in required else _or_null(one) for name, one in properties.items()}
    return {"type": "object", "properties": nullable, "required": list(required), "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_FORM: Schema = {
    "anyOf": [
        _closed({"type": {"const": "text"}}, "type"),
        _closed({"type": {"const": "json_object"}, "schema": _OBJECT}, "type"),
        _closed(
            {
                "type": {"const": "json_schema"},
                "json_schema": _closed(
                    {**{name: _TYPES[hint] for name, hint in NAMED.items()}, "schema": _OBJECT}, "schema"
                ),
            },
            "type",
            "json_schema",
        ),
    ]
}
_STREAM: Schema = _closed(
    {"include_usage": _BOOL, "include_obfuscation": _BOOL, "continuous_usage_stats": {"const": False}}
)
_SHAPES: Mapping[str, Schema] = {
    "prompt": {"anyOf": [_STRING, {"type": "array", "minItems": 1}]},
    "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
    "input": {"anyOf": [_STRING, {"type": "array", "minItems": 1, "items": _OBJECT}]},
    "tokens": _IDS,
    "continuations": {"type": "array", "minItems": 1, "items": _TEXT_OR_IDS},
    "top": {"type": "integer", "minimum": 0, "maximum": 1000},
    "at": {"anyOf": [{"const": "last"}, {"type": "array", "minItems": 1, "maxItems": 64, "items": _POSITIVE}]},
    "show": _IDS,
    "prompt_length": _POSITIVE,
    "search": {"type": "string", "maxLength": 256},
    **dict.fromkeys(("stop", "choice", "dry_sequence_breakers"), _WORDS),
    "stop_token_ids": _IDS,
    "allowed_token_ids": {**_IDS, "minItems": 1},
    "logit_bias": {
        "type": "object",
        "additionalProperties": {"type": "number"},
        "propertyNames": {"pattern": "^[0-9]{1,10}$"},
    },
    "schema": _JSON_SCHEMA,
    "json_schema": _JSON_SCHEMA,
    "early_stopping": {"anyOf": [_BOOL, {"enum": list(typing.get_args(EarlyStopping))}]},
    "order": {"enum": list(typing.get_args(ProcessorOrder))},
    "best_of": _POSITIVE,
    "max_output_tokens": _POSITIVE,
    "max_tool_calls": _INTEGER,
    "request_id": {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"},
    "tools": {"type": "array", "items": _OBJECT},
    "tool_choice": {"anyOf": [{"enum": ["auto", "none", "required"]}, _OBJECT]},
    "include": {"type": "array", "items": {"enum": ["message.output_text.logprobs"]}},
    "stream_options": _STREAM,
    "response_format": _FORM,
    "structured_outputs": {"anyOf": [_closed({name: {}}, name) for name in STRUCTURED]},
    **dict.fromkeys(("prediction", "chat_template_kwargs", "text", "reasoning", "access_programs"), _OBJECT),
    **dict.fromkeys(("model", "content", "negative_prompt", "instructions", "regex", "grammar"), _STRING),
    **dict.fromkeys((*FLAGS, "stream", "echo", "ignore_eos", "parallel_tool_calls", "processed_logprobs"), _BOOL),
    **dict.fromkeys(("add_generation_prompt", "continue_final_message", "include_stop_str_in_output"), _BOOL),
    **dict.fromkeys(("skip_special_tokens", "parse_special", "add_special_tokens", "add_special"), _BOOL),
    **dict.fromkeys(("with_pieces", "return_token_strs", "p_less"), _BOOL),
    **{name: _TYPES[hint] for name, hint in IGNORED.items()},
    **{name: {"enum": list(neutral)} for name, neutral in NOT_SERVED.items()},
}
"""Schemas of fields that are no numbers, or are at one route alone."""
_OF_ROUTES: Mapping[str, Mapping[str, Schema]] = {
    "/v1/chat/completions": {"logprobs": _BOOL, "add_special_tokens": {"const": False}},
    "/v1/responses": {
        **{name: {"enum": list(neutral)} for name, neutral in NOT_SERVED_IN_RESPONSES.items()},
        "stream_options": _closed({"include_obfuscation": _BOOL}),
    },
    "/v1/distribution": {"logprobs": {"type": ["boolean", "integer"]}},
    "/v1/score": {"prompt": _TEXT_OR_IDS},
    "/tokenize": {"prompt": _STRING},
}
"""Schemas of fields that differ from those of the same name at other routes."""
_CHECKS = {field.name: field.metadata.get("check") for field in dataclasses.fields(SamplingParams)}


def body_schema(path: str, names: Iterable[str], required: tuple[str, ...], limits: Limits) -> Schema:
    """Return the schema of a route's body; a field that need not be there may be null."""
    schemas = {name: field_schema(path, name, limits) for name in names}
    return {
        "type": "object",
        "properties": {name: one if name in required else _or_null(one) for name, one in schemas.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def field_schema(path: str, name: str, limits: Limits) -> Schema:
    """Return the schema of a field of a route's body."""
    found = _OF_ROUTES.get(path, {}).get(name) or _SHAPES.get(name)
    if found is not None:
        return found
    bounds = {
        **dict.fromkeys(("logprobs", "top_logprobs", "prompt_logprobs"), Number(int, 0, limits.max_logprobs)),
        "n": Number(int, 1, limits.max_n),
        "num_beams": Number(int, 0, limits.max_n),
        "sample_index": Number(int, 0, limits.max_n - 1),
        "seed": Number(int, -(2**63), 2**64 - 1),
        "top_p": Number(float, 0, 1),
    }
    check = bounds.get(name) or _CHECKS[ALIASES.get(name, name)]
    assert isinstance(check, Number), f"{name}: has no schema"
    return _of_number(check)


def _of_number(check: Number) -> Schema:
    found: Schema = {"type": "integer" if check.kind is int else "number"}
    found["exclusiveMinimum" if check.above_low else "minimum"] = check.low
    if check.high < math.inf:
        found["exclusiveMaximum" if check.below_high else "maximum"] = check.high
    return found
