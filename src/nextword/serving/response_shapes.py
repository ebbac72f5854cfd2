"""The shapes of `/v1/responses`: the object, and each kind of event."""

from __future__ import annotations

from nextword.serving.shapes import (
    BOOL,
    BYTES,
    COUNT,
    LOG_PROB,
    NUMBER,
    OBJECT,
    PROGRESS,
    TEXT,
    TIMINGS,
    Schema,
    lists,
    objects,
    optional,
    words,
)

_ENTRY: dict[str, Schema] = {"token": TEXT, "logprob": LOG_PROB, "bytes": BYTES}
_SCORES = lists(objects({**_ENTRY, "top_logprobs": lists(objects(_ENTRY))}))
_STATUS = words("in_progress", "completed", "incomplete")
_TEXT_PART = objects(
    {"type": words("output_text"), "text": TEXT, "annotations": {"type": "array", "maxItems": 0}, "logprobs": _SCORES}
)
_THOUGHT_PART = objects({"type": words("reasoning_text"), "text": TEXT})
_PART: Schema = {"anyOf": [_TEXT_PART, _THOUGHT_PART]}
_MESSAGE = {"type": words("message"), "role": words("assistant"), "content": lists(_TEXT_PART)}
_CALL = {"type": words("function_call"), "call_id": TEXT, "name": TEXT, "arguments": TEXT}
_REASONING = {"type": words("reasoning"), "summary": {"type": "array", "maxItems": 0}, "content": lists(_THOUGHT_PART)}
_ITEM: Schema = {"anyOf": [objects({"id": TEXT, "status": _STATUS, **one}) for one in (_MESSAGE, _CALL, _REASONING)]}
_USAGE = objects(
    {
        "input_tokens": COUNT,
        "input_tokens_details": objects({"cached_tokens": COUNT, "cache_write_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": objects({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
)
RESPONSE = objects(
    {
        "id": TEXT,
        "object": words("response"),
        "created_at": COUNT,
        "model": TEXT,
        "output": lists(_ITEM),
        "status": words("in_progress", "completed", "incomplete", "failed"),
        "error": optional(objects({"code": words("server_error"), "message": TEXT})),
        "incomplete_details": optional(objects({"reason": words("max_output_tokens")})),
        "instructions": optional(TEXT),
        "tools": {"type": "array"},
        "tool_choice": {},
        "metadata": OBJECT,
        "parallel_tool_calls": BOOL,
        "background": BOOL,
        "store": BOOL,
        "truncation": words("disabled"),
        "temperature": NUMBER,
        "top_p": NUMBER,
        "top_logprobs": COUNT,
        "max_output_tokens": optional(COUNT),
        "text": objects({"format": OBJECT}),
        "previous_response_id": {"type": "null"},
    },
    usage=_USAGE,
    timings=TIMINGS,
)
"""Shape of a whole answer."""
_IN_ITEM = {"item_id": TEXT, "output_index": COUNT}
_IN_PART = {**_IN_ITEM, "content_index": COUNT}
_KINDS: dict[str, dict[str, Schema]] = {
    **{name: {"response": RESPONSE} for name in ("created", "in_progress", "completed", "incomplete", "failed")},
    **{f"output_item.{name}": {"output_index": COUNT, "item": _ITEM} for name in ("added", "done")},
    **{f"content_part.{name}": {**_IN_PART, "part": _PART} for name in ("added", "done")},
    "output_text.delta": {**_IN_PART, "delta": TEXT, "logprobs": _SCORES},
    "output_text.done": {**_IN_PART, "text": TEXT, "logprobs": _SCORES},
    "reasoning_text.delta": {**_IN_PART, "delta": TEXT},
    "reasoning_text.done": {**_IN_PART, "text": TEXT},
    "function_call_arguments.delta": {**_IN_ITEM, "delta": TEXT},
    "function_call_arguments.done": {**_IN_ITEM, "name": TEXT, "arguments": TEXT},
}
EVENT: Schema = {
    "anyOf": [
        objects(
            {"type": words(f"response.{kind}"), "sequence_number": COUNT, **fields},
            timings=TIMINGS,
            prompt_progress=PROGRESS,
        )
        for kind, fields in _KINDS.items()
    ]
}
"""Shape of an event."""
