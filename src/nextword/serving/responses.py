"""`/v1/responses` without memory: a thin layer over chats, with the names and the events of OpenAI's newer endpoint."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from nextword.checks import shown
from nextword.inference.sequence import FINISH_REASONS, Request, TextPiece
from nextword.serving.asked import ChatAsked
from nextword.serving.chat_reply import ChatReply
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.handlers import answer, prepared
from nextword.serving.replies import Identity
from nextword.serving.service import Service
from nextword.serving.usage import usage

_SAME = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "seed",
    "top_k",
    "min_p",
    "stop",
    "logit_bias",
    "repetition_penalty",
)
_IGNORED = (
    *("metadata", "user", "store", "service_tier", "safety_identifier", "prompt_cache_key", "reasoning"),
    *("parallel_tool_calls", "stream_options"),
)
_NOT_SERVED: Mapping[str, Sequence[Any]] = {
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "background": (False,),
    "tools": ([],),
    "tool_choice": ("auto", "none"),
    "truncation": ("disabled",),
    "top_logprobs": (0,),
    "include": ([],),
}
FIELDS = (*_SAME, *_IGNORED, *_NOT_SERVED, "input", "instructions", "max_output_tokens", "text")


async def responses(request: HttpRequest) -> Response:
    """Answer `POST /v1/responses`."""
    service: Service = request.app.state.service
    given, asked, requests = await prepared(service, request, lambda body: service.reader.chat(chat_body(body)))
    identity = Identity("resp_", asked.model, service.fingerprint)
    chat = ChatReply(asked, requests[0], service.lm.tokenizer, identity)
    reply = ResponsesReply(asked, given, requests[0], chat, identity)
    return await answer(service, request, requests, reply, stream=asked.stream)


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a chat that asks for the same. Raises ApiError naming the field."""
    fields = Fields(body, FIELDS)
    fields.refuse(_NOT_SERVED)
    found = {name: body[name] for name in _SAME if fields.has(name)}
    if fields.has("max_output_tokens"):
        found["max_tokens"] = fields.take("max_output_tokens", int)
    messages = _messages(body.get("input"))
    if instructions := fields.take("instructions", str):
        messages.insert(0, {"role": "system", "content": instructions})
    form = (fields.take("text", Mapping[str, Any]) or {}).get("format")
    if isinstance(form, Mapping):
        is_schema = form.get("type") == "json_schema"
        found["response_format"] = {"type": "json_schema", "json_schema": dict(form)} if is_schema else dict(form)
    return {**found, "messages": messages}


def _messages(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise ApiError(f"input = {shown(given)}: must be a text or a list of messages", param="input")
    return [_message(item) for item in given]


def _message(item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping) or item.get("type", "message") != "message" or "role" not in item:
        raise ApiError(f"input = {shown(item)}: must be a message with a role", param="input")
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return {"role": item["role"], "content": content}


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, Mapping) or part.get("type") not in ("input_text", "output_text"):
        raise ApiError(f"input = {shown(part)}: only parts of text are served here", param="input")
    return {"type": "text", "text": part.get("text")}


class ResponsesReply:
    """One message as OpenAI's response object, and its growth as numbered events."""

    def __init__(
        self, asked: ChatAsked, given: Mapping[str, Any], request: Request, chat: ChatReply, identity: Identity
    ) -> None:
        self._asked, self._given, self._request = asked, given, request
        self._chat, self._identity = chat, identity
        self._item_id = f"msg_{uuid.uuid4().hex}"
        self._number = -1
        self._text = ""
        self._end = "completed"

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield the events before the first token."""
        started = self._response("in_progress", [])
        yield self._event("response.created", response=started)
        yield self._event("response.in_progress", response=started)
        yield self._event("response.output_item.added", output_index=0, item=self._item("in_progress", []))
        yield self._part_event("response.content_part.added", part=self._content())

    def chunks(self, prompt_index: int, piece: TextPiece) -> Iterator[dict[str, Any]]:
        """Yield the text as an event."""
        for chunk in self._chat.chunks(prompt_index, piece):
            if text := chunk["choices"][0]["delta"].get("content"):
                self._text += text
                yield self._part_event("response.output_text.delta", delta=text, logprobs=[])
        self._finish(piece)

    def closing(self) -> Iterator[dict[str, Any]]:
        """Yield the events after the last token."""
        yield self._part_event("response.output_text.done", text=self._text, logprobs=[])
        yield self._part_event("response.content_part.done", part=self._content())
        item = self._item(self._end, [self._content()])
        yield self._event("response.output_item.done", output_index=0, item=item)
        yield self._event(f"response.{self._end}", response=self._response(self._end, [item]))

    def whole(self, pieces: Sequence[tuple[int, TextPiece]]) -> dict[str, Any]:
        """Return the response for all pieces together."""
        for prompt_index, piece in pieces:
            list(self.chunks(prompt_index, piece))
        return self._response(self._end, [self._item(self._end, [self._content()])])

    def _finish(self, piece: TextPiece) -> None:
        if piece.finish_detail is not None and FINISH_REASONS[piece.finish_detail] == "length":
            self._end = "incomplete"

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **fields}

    def _part_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **fields)

    def _content(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self._text, "annotations": [], "logprobs": []}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        params = self._asked.params
        return {
            "id": self._identity.id,
            "object": "response",
            "created_at": self._identity.created,
            "status": status,
            "error": None,
            "instructions": self._given.get("instructions"),
            "model": self._identity.model,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": output,
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "metadata": {},
            "temperature": params.temperature,
            "top_p": params.top_p,
            "max_output_tokens": params.max_tokens,
            "usage": None if status == "in_progress" else _usage(self._request),
        }


def _usage(request: Request) -> dict[str, Any]:
    counts = usage([request])
    cached = counts["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counts["total_tokens"],
    }
