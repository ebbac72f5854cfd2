"""`ResponsesReply`: an answer as OpenAI's response object, and its growth as numbered events.

The items of a response are reasoning, a message, and calls of functions; each is opened, grows, and is closed by events
before the next one opens.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nextword.inference.sequence import FINISH_REASONS, Request, TextPiece
from nextword.serving.asked import ChatAsked
from nextword.serving.errors import ApiError
from nextword.serving.growing_answer import GrowingAnswer
from nextword.serving.logprobs import TokenNames, chat_logprobs
from nextword.serving.replies import Identity
from nextword.serving.response_object import response_object, usage_of
from nextword.text.tokenizer import Tokenizer
from nextword.text.tool_calls import CallDelta

Events = Iterator[dict[str, Any]]
_PREFIXES = {"reasoning": "rs_", "message": "msg_", "function_call": "fc_"}
_PARTS = {"reasoning": "reasoning_text", "message": "output_text"}
"""Kind of the one part of an item's content, which is in the names of its events, too."""


class ResponsesReply:
    """One answer, streamed or whole."""

    last_event = b""

    def __init__(
        self, asked: ChatAsked, given: Mapping[str, Any], request: Request, tokenizer: Tokenizer, identity: Identity
    ) -> None:
        """`given`: the fields of the HTTP request, some of which a response repeats."""
        self._asked, self._given, self._request, self._identity = asked, given, request, identity
        self._names = TokenNames(tokenizer, as_ids=False)
        self._answer = GrowingAnswer(request, tokenizer)
        self._items: list[dict[str, Any]] = []
        """Items of the response; the last may still grow."""
        self._end = "completed"
        self._number = -1

    def opening(self) -> Events:
        """Yield the events before the first token."""
        started = self._response("in_progress")
        yield self._event("response.created", response=started)
        yield self._event("response.in_progress", response=started)

    def chunks(self, prompt_index: int, piece: TextPiece) -> Events:
        """Yield the events of a piece of text."""
        texts, calls = self._answer.push(piece)
        if thought := texts.get("reasoning_content"):
            yield from self._grow("reasoning", thought, [])
        said, scores = texts.get("content", ""), self._logprobs(piece)
        if said or (scores and not calls and self._is_open("message")):
            yield from self._grow("message", said, scores)
        for call in calls:
            yield from self._grow_call(call)
        if piece.finish_detail is not None and FINISH_REASONS[piece.finish_detail] == "length":
            self._end = "incomplete"

    def closing(self) -> Events:
        """Yield the events after the last token."""
        if not any(item["type"] != "reasoning" for item in self._items):
            yield from self._open("message")
        yield from self._close(self._end)
        yield self._event(f"response.{self._end}", response=self._response(self._end))

    def progress(self, progress: Mapping[str, Any]) -> Events:
        """Yield an event beside the response, whose schema has no place for it."""
        yield self._event("response.in_progress", response=self._response("in_progress"), prompt_progress=progress)

    def failing(self, error: ApiError) -> Events:
        """Yield the event of an error."""
        if self._items:
            self._items[-1]["status"] = "incomplete"
        yield self._event("response.failed", response=self._response("failed", error))

    def whole(self, pieces: Sequence[tuple[int, TextPiece]]) -> dict[str, Any]:
        """Return the response for all pieces together."""
        events = [event for pair in pieces for event in self.chunks(*pair)]
        *_, last = [*events, *self.closing()]
        response: dict[str, Any] = last["response"]
        return response

    def _is_open(self, kind: str) -> bool:
        return bool(self._items) and self._items[-1]["type"] == kind

    def _open(self, kind: str, **fields: Any) -> Events:
        """Close the item that grows, and open another one."""
        yield from self._close("completed")
        head = {"id": _PREFIXES[kind] + uuid.uuid4().hex, "type": kind, "status": "in_progress"}
        self._items.append({**head, **fields, **({} if kind == "function_call" else {"content": []})})
        item = self._items[-1]
        if kind == "message":
            item["role"] = "assistant"
        elif kind == "reasoning":
            item["summary"] = []
        yield self._event("response.output_item.added", output_index=len(self._items) - 1, item=_copy(item))
        if kind in _PARTS:
            item["content"].append(_part(kind))
            yield self._part_event("response.content_part.added", part=_part(kind))

    def _grow(self, kind: str, text: str, logprobs: list[dict[str, Any]]) -> Events:
        if not self._is_open(kind):
            yield from self._open(kind)
        part = self._items[-1]["content"][0]
        part["text"] += text
        scores = {}
        if kind == "message":
            part["logprobs"] += logprobs
            scores = {"logprobs": logprobs}
        yield self._part_event(f"response.{_PARTS[kind]}.delta", delta=text, **scores)

    def _grow_call(self, call: CallDelta) -> Events:
        if call.begins is not None:
            name, call_id = call.begins.name, call.begins.id
            yield from self._open("function_call", call_id=call_id, name=name, arguments="")
        if call.arguments:
            item = self._items[-1]
            item["arguments"] += call.arguments
            yield self._item_event("response.function_call_arguments.delta", delta=call.arguments)

    def _close(self, status: str) -> Events:
        """Close the item that grows, if there is one."""
        if not self._items or self._items[-1]["status"] != "in_progress":
            return
        item = self._items[-1]
        item["status"] = status
        if item["type"] == "function_call":
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield self._item_event("response.function_call_arguments.done", **done)
        else:
            part = item["content"][0]
            scores = {"logprobs": part["logprobs"]} if item["type"] == "message" else {}
            yield self._part_event(f"response.{_PARTS[item['type']]}.done", text=part["text"], **scores)
            yield self._part_event("response.content_part.done", part=dict(part))
        yield self._event("response.output_item.done", output_index=len(self._items) - 1, item=_copy(item))

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **fields}

    def _item_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._event(kind, item_id=self._items[-1]["id"], output_index=len(self._items) - 1, **fields)

    def _part_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._item_event(kind, content_index=0, **fields)

    def _logprobs(self, piece: TextPiece) -> list[dict[str, Any]]:
        count = self._asked.params.logprobs
        if count is None:
            return []
        entries: list[dict[str, Any]] = chat_logprobs(piece, self._names, count=count)["content"]
        return entries

    def _response(self, status: str, error: ApiError | None = None) -> dict[str, Any]:
        known = response_object(self._asked, self._given, self._identity)
        usage = {"usage": usage_of(self._request, self._answer.num_reasoning_tokens)}
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        failure = None if error is None else {"code": "server_error", "message": str(error)}
        output = [_copy(item) for item in self._items]
        ended = {"status": status, "error": failure, "incomplete_details": incomplete, "output": output}
        return {**known, **ended, **({} if status == "in_progress" else usage)}


def _part(kind: str) -> dict[str, Any]:
    """Return the part of an item's content, still without text."""
    part = {"type": _PARTS[kind], "text": ""}
    return {**part, "annotations": [], "logprobs": []} if kind == "message" else part


def _copy(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as it is now."""
    return {**item, "content": [dict(part) for part in item["content"]]} if "content" in item else dict(item)
