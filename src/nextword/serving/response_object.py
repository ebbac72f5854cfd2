"""`response_object`: what a response of `/v1/responses` repeats of its request, and its counts of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.inference.sequence import Request
from nextword.serving.asked import ChatAsked
from nextword.serving.replies import Identity
from nextword.serving.usage import usage


def response_object(asked: ChatAsked, given: Mapping[str, Any], identity: Identity) -> dict[str, Any]:
    """Return the fields of a response that do not change while it grows; `given`: the fields of the request."""
    params, text = asked.params, given.get("text") or {}
    return {
        "id": identity.id,
        "object": "response",
        "created_at": identity.created,
        "model": identity.model,
        "instructions": given.get("instructions"),
        "tools": [_tool(tool) for tool in given.get("tools") or ()],
        "tool_choice": given.get("tool_choice") or "auto",
        "parallel_tool_calls": asked.rendering.get("parallel_tool_calls", True),
        "metadata": given.get("metadata") or {},
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_logprobs": params.logprobs or 0,
        "max_output_tokens": params.max_tokens,
        "text": {"format": text.get("format") or {"type": "text"}},
        "truncation": "disabled",
        "previous_response_id": None,
        "background": False,
        "store": False,
    }


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"parameters": None, "strict": False, **tool}


def usage_of(request: Request, num_reasoning_tokens: int) -> dict[str, Any]:
    """Return the counts of tokens under the names of this endpoint."""
    counts = usage([request])
    cached = counts["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": num_reasoning_tokens},
        "total_tokens": counts["total_tokens"],
    }
