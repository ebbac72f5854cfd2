"""Words for the schemas of answers: closed objects, lists, values and null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
COUNT: Schema = {"type": "integer", "minimum": 0}
BYTES: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}
NUMBER: Schema = {"type": "number"}
LOG_PROB: Schema = {"type": "number", "maximum": 0}


def objects(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object that has these fields and no others."""
    fields = {**required, **optional}
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def lists(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def words(*allowed: str | None) -> Schema:
    """Return the schema of one of these values."""
    return {"enum": list(allowed)}


def optional(schema: Schema) -> Schema:
    """Return the schema of a value or null."""
    return {"anyOf": [schema, {"type": "null"}]}


TIMINGS: Schema = objects(
    {
        "cache_n": COUNT,
        **{f"{name}_n": COUNT for name in ("prompt", "predicted")},
        **{
            f"{name}_{what}": {"type": "number", "minimum": 0}
            for name in ("prompt", "predicted")
            for what in ("ms", "per_token_ms", "per_second")
        },
    }
)
"""Times of an answer, as llama.cpp's server has them."""
PROGRESS: Schema = objects({"total": COUNT, "cache": COUNT, "processed": COUNT, "time_ms": {"type": "number"}})
"""Tokens of a prompt that are computed, as llama.cpp's server tells them."""
