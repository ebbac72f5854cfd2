"""Bodies of requests to the server with all that they may hold, and what is done with an edited one."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path
from typing import Any

from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.fuzz.edits import damaged, edited, to_json
from tests.fuzz.targets import Mutation
from tests.serving.client import Client

_TOOL = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
_FORM = {"name": "x", "strict": True, "schema": {"type": "object", "properties": {"a": {"enum": [1]}}}}
_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (
        "/v1/completions",
        {"prompt": ["ab", [97, 98]], "max_tokens": 2, "n": 2, "stop": ["x"], "logit_bias": {"5": 1.5}, "logprobs": 2,
         "echo": True, "stream": True, "stream_options": {"include_usage": True}, "seed": 1, "temperature": 0.5,
         "prediction": {"type": "content", "content": [{"type": "text", "text": "a"}]}, "user": "x",
         "allowed_token_ids": [97], "structured_outputs": {"choice": ["a", "b"]}, "request_id": "r", "best_of": 2},
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "system", "content": "s"},
                      {"role": "user", "name": "n", "content": [{"type": "text", "text": "a"}]},
                      {"role": "assistant", "content": "b", "reasoning_content": "r", "tool_calls": [_CALL]},
                      {"role": "tool", "tool_call_id": "c", "content": "d"}],
         "response_format": {"type": "json_schema", "json_schema": _FORM}, "max_completion_tokens": 2,
         "logprobs": True, "top_logprobs": 1, "chat_template_kwargs": {"a": 1}, "metadata": {"a": "b"}},
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "function": _TOOL}],
         "tool_choice": {"type": "function", "function": {"name": "f"}}, "max_tokens": 2},
    ),
    (
        "/v1/responses",
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
                   {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "x"}], "summary": []},
                   {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                   {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "y"}]}],
         "instructions": "i", "max_output_tokens": 2, "text": {"format": {"type": "json_schema", **_FORM}},
         "include": ["message.output_text.logprobs"], "reasoning": {"effort": "low"}, "stream": True},
    ),
    ("/v1/responses", {"input": "a", "tools": [{"type": "function", **_TOOL}], "tool_choice": "auto"}),
    (
        "/v1/distribution",
        {"prompt": [97, 98], "at": [1], "top": 2, "show": [1], "search": "a", "prompt_length": 1, "sample_index": 0},
    ),
    ("/v1/score", {"prompt": [1, 2], "continuations": ["a", [3]], "model": "tiny"}),
    ("/tokenize", {"content": "a", "with_pieces": True, "return_token_strs": True, "add_special": True}),
    ("/tokenize", {"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": True}),
    ("/detokenize", {"tokens": [97, 98], "model": "tiny"}),
    ("/apply-template", {"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"a": [1]}}),
]  # fmt: skip
"""Routes, and what is sent to them."""


def request(_: Path, mutation: Mutation) -> None:
    """A request over HTTP; its answer has the shape of its route, or is an error about the request."""
    path, body = BODIES[mutation.which % len(BODIES)]
    answer = _client().post(path, damaged(to_json(edited(body, mutation.edits)), mutation.damages))
    if answer.status == 200:
        return
    assert answer.status in (400, 404), (path, answer.body)
    assert len(answer.body) < 2000
    warnings.warn(answer.error["message"], stacklevel=2)  # looked at as all messages are


@functools.cache
def _client() -> Client:
    """A client of a server that lives as long as the process."""
    server = ServerThread(Service(load_bytes_model(Path(tempfile.mkdtemp(prefix="fuzz-served-")) / "tiny")))
    return Client(server.__enter__().url)
