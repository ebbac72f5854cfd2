"""Checks what the server answers against OpenAI's schema: a part of it written here, or the whole file.

The shapes here are closed: a field that is neither OpenAI's nor one of ours listed here is a fault. With the variable
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

from tests.serving.openai_types import check_types
from tests.serving.responses_schema import EVENT, RESPONSE
from tests.serving.shapes import COUNT, LOG_PROB, PROGRESS, TEXT, TIMINGS, Schema, lists, objects, optional, words

USAGE = objects(
    {"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT},
    prompt_tokens_details=objects({"cached_tokens": COUNT}),
    completion_tokens_details=objects(
        {"accepted_prediction_tokens": COUNT, "rejected_prediction_tokens": COUNT}, reasoning_tokens=COUNT
    ),
)
_HEAD: dict[str, Schema] = {"id": TEXT, "created": COUNT, "model": TEXT, "system_fingerprint": TEXT}
_PROMPT_LOGPROBS = lists(
    optional(
        {
            "type": "object",
            "additionalProperties": objects(
                {"logprob": LOG_PROB, "rank": optional(COUNT), "decoded_token": optional(TEXT)}
            ),
        }
    )
)
_OWN: dict[str, Schema] = {
    "finish_detail": words("end_of_sequence", "stop_token", "stop_string", "complete", "max_tokens", "context"),
    "seed": COUNT,
    "token_ids": lists(COUNT),
    "prompt_token_ids": lists(COUNT),
    "stop_reason": optional({"type": ["string", "integer"]}),
    "prompt_logprobs": _PROMPT_LOGPROBS,
}
"""Fields of a choice that are ours or vLLM's."""
_COMPLETION_LOGPROBS = objects(
    {
        "tokens": lists(TEXT),
        "token_logprobs": lists(optional(LOG_PROB)),
        "top_logprobs": lists(optional({"type": "object", "additionalProperties": LOG_PROB})),
        "text_offset": lists(COUNT),
    }
)
_ENTRY: dict[str, Schema] = {"token": TEXT, "logprob": LOG_PROB, "bytes": lists({"type": "integer", "maximum": 255})}
_CHAT_LOGPROBS = objects(
    {"content": lists(objects({**_ENTRY, "top_logprobs": lists(objects(_ENTRY))})), "refusal": {"type": "null"}}
)


def _completion(reasons: Schema, **others: Schema) -> Schema:
    choice = {"index": COUNT, "text": TEXT, "logprobs": optional(_COMPLETION_LOGPROBS), "finish_reason": reasons}
    head = {**_HEAD, "object": words("text_completion"), "choices": lists(objects(choice, **_OWN))}
    return objects(head, **others)


_CALL = objects({"name": TEXT, "arguments": TEXT})
_MESSAGE = objects(
    {"role": words("assistant"), "content": optional(TEXT), "refusal": {"type": "null"}},
    reasoning_content=TEXT,
    tool_calls=lists(objects({"id": TEXT, "type": words("function"), "function": _CALL})),
)
_DELTA = objects(
    {},
    role=words("assistant"),
    content=optional(TEXT),
    reasoning_content=TEXT,
    tool_calls=lists(
        objects({"index": COUNT}, id=TEXT, type=words("function"), function=objects({}, name=TEXT, arguments=TEXT))
    ),
)
_CHAT_REASONS = ("stop", "length", "tool_calls")
_CHAT_CHOICE = {"index": COUNT, "logprobs": optional(_CHAT_LOGPROBS)}
_MODEL = objects(
    {"id": TEXT, "object": words("model"), "created": COUNT, "owned_by": TEXT}, meta={"type": "object"}, parent=TEXT
)
WHOLE: dict[str, Schema] = {
    "/v1/completions": _completion(words("stop", "length"), usage=USAGE, timings=TIMINGS),
    "/v1/chat/completions": objects(
        {
            **_HEAD,
            "object": words("chat.completion"),
            "choices": lists(
                objects({**_CHAT_CHOICE, "message": _MESSAGE, "finish_reason": words(*_CHAT_REASONS)}, **_OWN)
            ),
            "usage": USAGE,
        },
        prompt_logprobs=_PROMPT_LOGPROBS,
        prompt_token_ids=lists(COUNT),
        timings=TIMINGS,
    ),
    "/v1/models": objects({"object": words("list"), "data": lists(_MODEL)}),
    "/v1/responses": RESPONSE,
}
"""Shape of a whole answer by its route."""
CHUNKS: dict[str, Schema] = {
    "/v1/completions": _completion(
        words("stop", "length", None), usage=optional(USAGE), timings=TIMINGS, prompt_progress=PROGRESS
    ),
    "/v1/chat/completions": objects(
        {
            **_HEAD,
            "object": words("chat.completion.chunk"),
            "choices": lists(
                objects({**_CHAT_CHOICE, "delta": _DELTA, "finish_reason": words(*_CHAT_REASONS, None)}, **_OWN)
            ),
        },
        usage=optional(USAGE),
        prompt_token_ids=lists(COUNT),
        timings=TIMINGS,
        prompt_progress=PROGRESS,
    ),
    "/v1/responses": EVENT,
}
"""Shape of a chunk of a stream by its route."""
ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": TEXT, "type": TEXT, "param": optional(TEXT), "code": optional(TEXT)},
        }
    },
}
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
