"""Checks what the server answers against `/openapi.json`'s shapes, and against OpenAI's schema where it is at hand.

The shapes are closed: a field that is neither OpenAI's nor one of ours listed there is a fault. With the variable
NEXTWORD_OPENAI_SCHEMA set to the path of OpenAI's OpenAPI file, which is api_reference/openapi.transformed.yml of
openai-python, each answer is checked against that as well. `openai_types` checks each by the types of OpenAI's client.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema

from nextword.serving.answer_shapes import CHUNKS, ERROR, WHOLE
from nextword.serving.shapes import optional
from tests.serving.openai_types import check_types

_ERROR = jsonschema.Draft202012Validator(ERROR)
_SHAPES = {
    (path, is_chunk): jsonschema.Draft202012Validator(shape)
    for is_chunk, shapes in ((False, WHOLE), (True, CHUNKS))
    for path, shape in shapes.items()
}
_NAMES = {
    "/v1/completions": ("CreateCompletionResponse", "CreateCompletionResponse"),
    "/v1/chat/completions": ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"),
    "/v1/models": ("ListModelsResponse", ""),
    "/v1/responses": ("Response", "ResponseStreamEvent"),
}
"""Names in OpenAI's file of a whole answer and of a chunk."""


def check_answer(path: str, value: Any, *, status: int = 200, is_chunk: bool = False) -> None:
    """Raise ValidationError for an answer that has not the shape of its route."""
    if status >= 400 or (isinstance(value, dict) and "error" in value and path != "/v1/responses"):
        _ERROR.validate(value)
        return
    shape = _SHAPES.get((path, is_chunk))
    if shape is not None:
        shape.validate(value)
    check_types(path, value, is_chunk=is_chunk)
    source = os.environ.get("NEXTWORD_OPENAI_SCHEMA")
    if source and path in _NAMES:
        _validator(source, _NAMES[path][is_chunk]).validate(value)


@functools.cache
def _validator(source: str, name: str) -> jsonschema.Draft202012Validator:
    schemas = _reachable(_schemas(source), name)
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})


@functools.cache
def _schemas(source: str) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    schemas: dict[str, Any] = _nullable(yaml.load(Path(source).read_text(), loader)["components"]["schemas"])
    _mend(schemas)
    return schemas


def _reachable(schemas: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a schema and those that it refers to: the whole file takes long at each reference."""
    found: dict[str, Any] = {}
    names = {name}
    while names - found.keys():
        found |= {one: schemas[one] for one in names - found.keys()}
        names = set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(found)))
    return found


def _nullable(schema: Any) -> Any:
    """Write `nullable`, a word of OpenAPI 3.0, as JSON schema has it."""
    if isinstance(schema, list):
        return [_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _nullable(value) for key, value in schema.items() if key != "nullable"}
    return optional(found) if schema.get("nullable") is True else found


def _mend(schemas: dict[str, Any]) -> None:
    """Allow null where OpenAI's answers have it and their file does not say so."""
    completion = schemas["CreateCompletionResponse"]["properties"]
    completion["usage"] = optional(completion["usage"])  # of the chunks before the last
    choice = completion["choices"]["items"]["properties"]
    choice["finish_reason"] = optional(choice["finish_reason"])  # of the chunks before the last
    for scores in choice["logprobs"]["anyOf"]:
        for name in ("token_logprobs", "top_logprobs"):  # of a prompt's first token
            if "properties" in scores:
                scores["properties"][name]["items"] = optional(scores["properties"][name]["items"])
