"""openai-python's own tests of its resources, as a plugin of pytest.

They call each method with made-up names of models, and once with all of its parameters at the same time; the mock for
which they were generated takes what no server can. Such fields are taken out, and the rest of the test stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from acceptance.models import tiny_model
from acceptance.openai_client import edit_requests
from acceptance.servers import ServerProcess, free_port, is_peer, nextword_command, peer_command

MODEL = "tiny"
_MADE_UP_MODELS = ("gpt-6-astra", "gpt-3.5-turbo-instruct")
_TAKEN_OUT: Mapping[str, str] = {
    "suffix": "needs a model that fills in",
    "audio": "needs a model that speaks",
    "functions": "the old form of tools",
    "function_call": "the old form of tools",
    "web_search_options": "needs a search engine",
    "moderation": "needs a model that judges",
    "background": "needs a store",
    "background_options": "needs a store",
    "conversation": "needs a store",
    "previous_response_id": "needs a store, and stands beside conversation",
    "prompt_cache_options": "names a response that is stored",
    "include": "asks for results of a search",
    "truncation": "would cut the input in silence",
    "access_programs": "is about accounts",
    "context_management": "needs a store",
    "image": "needs a model that sees",
    "max_tool_calls": "is about tools that the server calls",
    "echo": "with logprobs: the first token of a prompt has none, and the generated types have no null",
}
"""Fields of the tests with all parameters that ask for what is not served, and why."""
_IMPOSSIBLE: Mapping[str, Any] = {
    "best_of": 0,
    "logit_bias": {"foo": 0},
    "max_tokens": 0,
    "max_completion_tokens": 0,
    "prompt": {"id": "id", "variables": {"foo": "string"}, "version": "version"},
}
"""Values in these tests that cannot be: fewer best than all, a word as a token's id, no tokens, no stored prompt."""


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Serve the model before the suite's own fixtures are imported, which read the address."""
    model, port = str(tiny_model()), free_port()
    theirs = peer_command(model, port, model_alias=MODEL, jinja=True)
    server = ServerProcess(theirs if is_peer() else nextword_command(model, port, "--alias", MODEL), port)
    os.environ["TEST_API_BASE_URL"] = f"{server.url}/v1"
    early_config.add_cleanup(server.stop)
    edit_requests(_edit)


def _edit(options: Any) -> None:
    for name in _MADE_UP_MODELS:
        options.url = options.url.replace(name, MODEL)
    if isinstance(options.json_data, dict):
        options.json_data = _served(options.json_data)
        if options.url == "/responses":  # which they call without any field, too
            options.json_data.setdefault("input", "string")


def _served(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that a server of this model can have."""
    found = {name: value for name, value in body.items() if name not in _TAKEN_OUT and value != _IMPOSSIBLE.get(name)}
    if not body.get("stream"):
        found.pop("stream_options", None)
    if found.get("model") in _MADE_UP_MODELS:
        found["model"] = MODEL
    return found
