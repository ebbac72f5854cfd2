"""The tests of llama.cpp's server, as a plugin of pytest: their servers are ours, or llama.cpp's own as a check.

The models of the suite lie on a hub; here it gets a tiny one with random weights. So what a test says about the texts
of its model, or about the number of its tokens, becomes "some text" and "some number". What it says about requests
that must agree stays, and so do the forms that a grammar forces.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from acceptance.llama_cpp_native import NATIVE, from_native, slots, to_native, to_native_chunk
from acceptance.models import tiny_model
from acceptance.openai_client import ask_for_model
from acceptance.servers import ServerProcess, Servers, free_port, is_peer, peer_command

_FORMS = ('"42"', '"foooooo"', "a{5,5}", "[ -3000 ]")
"""Patterns of texts that grammars force; all others describe what the suite's model writes."""
_SHORT_PATHS = re.compile(r"^/(chat/completions|completions|responses|models)$")
_OF_A_TEMPLATE = ("messages", "tools", "add_generation_prompt", "continue_final_message")
_OF_A_PEER = (
    *("n_ctx", "n_batch", "n_slots", "n_predict", "temperature", "seed", "model_alias", "api_key", "jinja"),
    *("server_slots", "server_metrics", "kv_unified", "enable_ctx_shift", "debug", "cors_origins"),
)
_SERVERS = Servers()


class AnyCount(int):
    """A number that depends on the model: any but zero is right."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and other > 0

    __hash__ = int.__hash__


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Put our servers in the place of theirs, before their tests take them by name."""
    early_config.add_cleanup(_SERVERS.stop)
    sys.modules["wget"] = types.ModuleType("wget")  # it would fetch models
    utils = _utils()
    utils.match_regex = _matches
    utils.download_file = lambda *_: str(tiny_model())
    utils.ServerPreset.load_all = staticmethod(lambda: None)
    utils.ServerProcess.start = _start
    utils.ServerProcess.stop = _stop
    if not is_peer():
        request, stream = utils.ServerProcess.make_request, utils.ServerProcess.make_stream_request
        utils.ServerProcess.make_request = lambda self, *args, **rest: _asked(request, self, *args, **rest)
        utils.ServerProcess.make_stream_request = lambda self, *args, **rest: _streamed(stream, self, *args, **rest)
        ask_for_model(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let numbers of a prompt's tokens be those of any model."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        for name in params.keys() & {"n_prompt", "n_token_output"}:
            params[name] = AnyCount()


def _utils() -> Any:
    """The suite's own module, which can be imported where the suite runs."""
    return importlib.import_module("utils")


def _matches(regex: str, text: str) -> bool:
    return re.search(regex, text) is not None if regex in _FORMS else bool(text)


def _start(server: Any, timeout_seconds: int = 60) -> None:
    if is_peer():
        server.process = ServerProcess(_peer_command(server), server.server_port)
    else:
        server.server_port = _SERVERS.nextword(*_nextword_arguments(server)).port
    _utils().server_instances.add(server)


def _stop(server: Any) -> None:
    _utils().server_instances.discard(server)
    if server.process is not None:
        server.process.stop()
        server.process = None


def _nextword_arguments(server: Any) -> list[str]:
    """The flags of llama.cpp's server as ours: a slot's context is the model's."""
    context = (server.n_ctx or 512) // (1 if server.kv_unified else server.n_slots or 1)
    template = server.chat_template if server.chat_template != "chatml" else None
    if server.chat_template_file:
        template = Path(server.chat_template_file).read_text(encoding="utf-8")
    options = ["--lenient", "--threads", "1", "--alias", server.model_alias]
    options += ["--api-key", server.api_key] if server.api_key else []
    options += ["--draft-model", server.model_draft] if server.model_draft else []
    return [str(tiny_model(context, template)), *options]


def _peer_command(server: Any) -> list[str]:
    server.server_port = free_port()
    settings = {name: getattr(server, name) for name in _OF_A_PEER}
    template = server.chat_template
    if server.chat_template_file:
        template = Path(server.chat_template_file).read_text(encoding="utf-8")
    return peer_command(str(tiny_model(8192)), server.server_port, **settings, chat_template=template)


def _defaults(server: Any, path: str, data: Any) -> Any:
    """Add what llama.cpp's server takes from its command line."""
    if not isinstance(data, Mapping):
        return data
    if path == "/apply-template":
        return {**data, "chat_template_kwargs": {"enable_thinking": server.reasoning != "off"}}
    if "completion" not in path:
        return data
    known = {"temperature": server.temperature, "seed": server.seed}
    if server.n_predict and server.n_predict > 0:
        known["n_predict" if path in NATIVE else "max_tokens"] = server.n_predict
    return {**known, **data}


def _asked(request: Any, server: Any, method: str, path: str, data: Any = None, *rest: Any, **more: Any) -> Any:
    if path == "/slots":
        answer = request(server, method, "/metrics", data, *rest, **more)
        answer.body = slots(answer.body, server.n_slots)
        return answer
    data = _defaults(server, path, data)
    if path not in NATIVE or method != "POST":
        answer = request(server, method, _SHORT_PATHS.sub(r"/v1/\1", path), data, *rest, **more)
        if server.debug and answer.status_code == 200 and "messages" in (data or {}):
            shown = {name: data[name] for name in _OF_A_TEMPLATE if name in data}
            answer.body["__verbose"] = request(server, method, "/apply-template", shown, *rest, **more).body
        return answer
    answer = request(server, method, "/v1/completions", from_native(data), *rest, **more)
    if answer.status_code == 200:
        answer.body = to_native(data, answer.body)
    return answer


def _streamed(
    stream: Any, server: Any, method: str, path: str, data: Any = None, *rest: Any, **more: Any
) -> Iterator[Any]:
    data = _defaults(server, path, data)
    if path not in NATIVE:
        yield from stream(server, method, _SHORT_PATHS.sub(r"/v1/\1", path), data, *rest, **more)
        return
    body = {**from_native(data), "stream_options": {"include_usage": True}}
    chunks = list(stream(server, method, "/v1/completions", body, *rest, **more))
    yield from to_native_chunk(data, chunks)
