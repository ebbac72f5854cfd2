"""The shapes of all answers by their routes, which `/openapi.json` shows. They are closed: no other field is there."""

from __future__ import annotations

from nextword.serving.response_shapes import EVENT, RESPONSE
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

_USAGE = objects(
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
_ENTRY: dict[str, Schema] = {"token": TEXT, "logprob": LOG_PROB, "bytes": BYTES}
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
    {"id": TEXT, "object": words("model"), "created": COUNT, "owned_by": TEXT},
    meta=objects(
        {
            **dict.fromkeys(("context", "vocab_size", "num_parameters"), COUNT),
            "weights": TEXT,
            "license": optional(TEXT),
        }
    ),
    parent=TEXT,
)
_RUNNING = objects(
    {
        "id": TEXT,
        "object": words("request"),
        "seconds": NUMBER,
        **dict.fromkeys(("num_running", "num_waiting"), COUNT),
        **dict.fromkeys(("prompt_tokens", "prefilled_tokens", "completion_tokens"), COUNT),
    }
)
_SCORES = lists(
    objects(
        {
            "log_prob": LOG_PROB,
            "is_greedy": BOOL,
            "token_ids": lists(COUNT),
            "tokens": lists(TEXT),
            "token_logprobs": lists(LOG_PROB),
        }
    )
)
_NAMED: dict[str, Schema] = {"token_id": COUNT, "text": TEXT}
_PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_INTERVAL: Schema = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
_POSITION = objects(
    {
        "position": COUNT,
        "token": optional(objects({**_NAMED, "log_prob": LOG_PROB, "rank": COUNT, "entropy": NUMBER}, bytes=BYTES)),
        "entropy": NUMBER,
        "steps": lists(
            objects({"name": TEXT, "num_tokens": COUNT, "mass": _PROBABILITY, "entropy": NUMBER, "help": TEXT})
        ),
        "rows": lists(
            objects(
                {
                    **_NAMED,
                    "logit": NUMBER,
                    "probabilities": lists(optional(NUMBER)),
                    "removed_by": optional(TEXT),
                    "rank": COUNT,
                    "cumulated": optional(_INTERVAL),
                },
                bytes=BYTES,
            )
        ),
        "draw": optional(objects({"token_id": COUNT, "number": _PROBABILITY, "interval": _INTERVAL})),
    }
)
_PIECE = objects({"id": COUNT, "piece": {"anyOf": [TEXT, BYTES]}})
WHOLE: dict[str, Schema] = {
    "/v1/completions": _completion(words("stop", "length"), usage=_USAGE, timings=TIMINGS),
    "/v1/chat/completions": objects(
        {
            **_HEAD,
            "object": words("chat.completion"),
            "choices": lists(
                objects({**_CHAT_CHOICE, "message": _MESSAGE, "finish_reason": words(*_CHAT_REASONS)}, **_OWN)
            ),
            "usage": _USAGE,
        },
        prompt_logprobs=_PROMPT_LOGPROBS,
        prompt_token_ids=lists(COUNT),
        timings=TIMINGS,
    ),
    "/v1/responses": RESPONSE,
    "/v1/score": objects(
        {
            "object": words("score"),
            "model": TEXT,
            "scores": _SCORES,
            "usage": objects({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT}),
        }
    ),
    "/v1/distribution": objects({"object": words("distribution"), "model": TEXT, "positions": lists(_POSITION)}),
    "/v1/models": objects({"object": words("list"), "data": lists(_MODEL)}),
    "/v1/models/{name}": _MODEL,
    "/v1/requests": objects({"object": words("list"), "data": lists(_RUNNING)}),
    "/v1/requests/{name}": objects({"id": TEXT, "object": words("request"), "deleted": {"const": True}}),
    "/tokenize": objects(
        {
            "tokens": {"anyOf": [lists(COUNT), lists(_PIECE)]},
            "count": COUNT,
            "max_model_len": COUNT,
            "token_strs": optional(lists(TEXT)),
        }
    ),
    "/detokenize": objects({"content": TEXT, "prompt": TEXT}),
    "/apply-template": objects({"prompt": TEXT}),
    "/tokenizer_info": objects(
        {
            "tokenizer_class": TEXT,
            **dict.fromkeys(("bos_token", "eos_token", "pad_token", "chat_template"), optional(TEXT)),
            "vocab_size": COUNT,
        }
    ),
    "/health": objects({"status": words("ok")}),
    "/version": objects({"version": TEXT}),
    "/props": objects(
        {
            **dict.fromkeys(("model", "version", "system_fingerprint"), TEXT),
            "models": lists(TEXT),
            **dict.fromkeys(("context", "vocab_size", "cache_positions"), COUNT),
            "chat_template": optional(TEXT),
            **dict.fromkeys(("default_params", "default_chat_params", "limits"), OBJECT),
        }
    ),
    "/openapi.json": OBJECT,
}
"""Shape of a whole answer by its route."""
CHUNKS: dict[str, Schema] = {
    "/v1/completions": _completion(
        words("stop", "length", None), usage=optional(_USAGE), timings=TIMINGS, prompt_progress=PROGRESS
    ),
    "/v1/chat/completions": objects(
        {
            **_HEAD,
            "object": words("chat.completion.chunk"),
            "choices": lists(
                objects({**_CHAT_CHOICE, "delta": _DELTA, "finish_reason": words(*_CHAT_REASONS, None)}, **_OWN)
            ),
        },
        usage=optional(_USAGE),
        prompt_token_ids=lists(COUNT),
        timings=TIMINGS,
        prompt_progress=PROGRESS,
    ),
    "/v1/responses": EVENT,
}
"""Shape of a chunk of a stream by its route."""
ERROR: Schema = {
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
"""Shape of an error, which may have figures of its own as well."""
