"""`/v1/responses` without memory: a thin layer over chats, with the names of OpenAI's newer endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from nextword.checks import shown
from nextword.serving.elsewhere import IGNORED
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields, Ignored
from nextword.serving.handlers import answer, prepared
from nextword.serving.replies import Identity
from nextword.serving.response_items import messages_of
from nextword.serving.responses_reply import ResponsesReply
from nextword.serving.sampling_fields import NAMES

_OTHERWISE = ("n", "max_tokens", "max_completion_tokens", "json_schema")
"""Sampling parameters that this endpoint has under other names, or not."""
_SAME = (
    *(name for name in NAMES if name not in _OTHERWISE),
    *("model", "stream", "tool_choice", "parallel_tool_calls", "top_logprobs", "structured_outputs", "ignore_eos"),
    *("chat_template_kwargs", "allowed_token_ids", "include_stop_str_in_output", "skip_special_tokens", "request_id"),
    *("timings_per_token", "return_progress"),
)
"""Fields that a chat has under the same name."""
_IGNORED: Mapping[str, Any] = {
    **{name: hint for name, hint in IGNORED.items() if name not in ("reasoning_effort", "verbosity", "id_slot")},
    "reasoning": Mapping[str, Any],
    "access_programs": Mapping[str, Any],
    "max_tool_calls": int,
}
NOT_SERVED: Mapping[str, Sequence[Any]] = {
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "background": (False,),
    "background_options": (),
    "image": (),
    "moderation": (),
    "truncation": ("disabled",),
    "context_management": (),
}
_CACHE_OPTIONS: Mapping[str, Sequence[Any]] = {"prewarm": (False,), "comparison_response_id": ()}
"""Parts of prompt_cache_options that ask for something else than an answer, with the values that do not."""
_LOGPROBS = "message.output_text.logprobs"
_PARAMS = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
}
"""Names in errors of chats -> those of this endpoint."""
_OWN = ("input", "instructions", "max_output_tokens", "text", "tools", "include", "stream_options")
FIELDS = (*_SAME, *_IGNORED, *NOT_SERVED, *_OWN)


async def responses(request: HttpRequest) -> Response:
    """Answer `POST /v1/responses`."""
    with _own_names():
        service, given, asked, requests = await prepared(
            request, lambda reader, body, ignored: reader.chat(chat_body(body, ignored), ignored)
        )
    identity = Identity("resp_", asked.model, service.fingerprint)
    reply = ResponsesReply(asked, given, requests[0], service.lm.tokenizer, identity)
    return await answer(service, request, requests, reply, asked)


@contextlib.contextmanager
def _own_names() -> Iterator[None]:
    """Let errors name the fields of this endpoint."""
    try:
        yield
    except ApiError as error:
        name = next((name for name in _PARAMS if f"{error.param}.".startswith(f"{name}.")), None)
        if name is None or error.param is None:
            raise
        own, message = _PARAMS[name] + error.param.removeprefix(name), str(error)
        if message.startswith(error.param):
            message = own + message.removeprefix(error.param)
        raise ApiError(message, status=error.status, param=own, code=error.code, details=error.details) from None


def chat_body(body: Mapping[str, Any], ignored: Ignored = None) -> dict[str, Any]:
    """Return the body of a chat that asks for the same. Raises ApiError naming the field."""
    fields = Fields(body, FIELDS, ignored=ignored)
    fields.refuse(NOT_SERVED)
    for name, hint in _IGNORED.items():
        fields.take(name, hint)
    _check_stream_options(fields)
    fields.inner("prompt_cache_options", ("mode", "ttl", *_CACHE_OPTIONS)).refuse(_CACHE_OPTIONS)
    found = {name: body[name] for name in _SAME if fields.has(name)}
    if fields.has("max_output_tokens"):
        found["max_tokens"] = fields.take("max_output_tokens", int)
    found["logprobs"] = _wants_logprobs(fields) or bool(found.get("top_logprobs"))
    if fields.has("tools"):
        found["tools"] = [_tool(tool) for tool in fields.take("tools", list[Mapping[str, Any]])]
    if form := _form(fields):
        found["response_format"] = form
    messages = messages_of(body.get("input"))
    if instructions := fields.take("instructions", str):
        messages.insert(0, {"role": "system", "content": instructions})
    return {**found, "messages": messages}


def _check_stream_options(fields: Fields) -> None:
    if fields.has("stream_options") and not fields.take("stream", bool, False):
        raise ApiError("stream_options: may be given with stream = true alone", param="stream_options")
    fields.inner("stream_options", ("include_obfuscation",)).take("include_obfuscation", bool)


def _wants_logprobs(fields: Fields) -> bool:
    include = fields.take("include", list[str], [])
    other = next((one for one in include if one != _LOGPROBS), None)
    if other is not None:
        raise ApiError(f"include: {shown(other)} is not served here; {_LOGPROBS!r} is", param="include")
    return bool(include)


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as a chat has it; what is no function is refused there."""
    if tool.get("type") != "function" or "function" in tool:
        raise ApiError(
            f"tools: {shown(tool)}: only functions are served here, with a name beside the type", param="tools"
        )
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _form(fields: Fields) -> dict[str, Any] | None:
    """Return `text.format` as the `response_format` of a chat."""
    form = fields.inner("text", ("format", "verbosity")).take("format", Mapping[str, Any])
    if form is None:
        return None
    return {"type": "json_schema", "json_schema": dict(form)} if form.get("type") == "json_schema" else dict(form)
