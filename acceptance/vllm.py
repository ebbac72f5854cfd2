"""vLLM's tests of its entry points, as a plugin of pytest: those that talk with a server, which is ours.

`tests.utils`, where the suite starts a server, is replaced. Modules of vLLM are stand-ins without content, so that
files can be imported in which other tests hold vLLM's own classes.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import openai

from acceptance.servers import ServerProcess, free_port, is_peer, nextword_command, peer_command
from nextword.checkpoints.catalogue import resolve

_END_SECONDS = 10.0
"""Seconds in which a server ends that drops its requests."""
_KEY = "token-abc123"
_ABSENT = ("vllm", "fastapi", "pybase64")


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds any module of vLLM and of what it needs, and makes one in which every name is there."""

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Return a stand-in for what is not installed."""
        if name.split(".")[0] not in _ABSENT:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        """Let every name of the module be a mock."""
        module.__getattr__ = lambda name: _StandIn if name[0].isupper() else MagicMock(name=name)  # type: ignore[method-assign]


class _StandIn(Exception):  # noqa: N818 -- some are raised, others are not
    """A class of vLLM."""


class RemoteOpenAIServer:
    """Our server, or llama.cpp's as a check, with the attributes that the suite uses."""

    DUMMY_API_KEY = _KEY

    def __init__(
        self, model: str, vllm_serve_args: Sequence[str], *, env_dict: Mapping[str, str] | None = None, **_: Any
    ) -> None:
        """Start it with the flags of vLLM's server that ours has as well."""
        self.host, self.port = "127.0.0.1", free_port()
        self._server = ServerProcess(_command(model, list(vllm_serve_args), self.port), self.port)
        self.proc, self.url_root = self._server.process, self._server.url

    def __enter__(self) -> RemoteOpenAIServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _get_process_termination_timeout(self) -> float:
        return _END_SECONDS

    def url_for(self, *parts: str) -> str:
        """Return the address of a route."""
        return "/".join([self.url_root, *(part.strip("/") for part in parts if part)])

    def get_client(self, **options: Any) -> openai.OpenAI:
        """Return a client."""
        options = {"timeout": 600, **options}
        return openai.OpenAI(base_url=self.url_for("v1"), api_key=_KEY, max_retries=0, **options)

    def get_async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """Return an asynchronous client."""
        options = {"timeout": 600, **options}
        return openai.AsyncOpenAI(base_url=self.url_for("v1"), api_key=_KEY, max_retries=0, **options)


def pytest_load_initial_conftests() -> None:
    """Put our modules in the place of theirs before the tests import them."""
    sys.meta_path.append(StandIns())
    utils = types.ModuleType("tests.utils")
    utils.RemoteOpenAIServer = RemoteOpenAIServer  # type: ignore[attr-defined]
    utils.ROCM_EXTRA_ARGS = utils.ROCM_ENV_OVERRIDES = []  # type: ignore[attr-defined]
    utils.__getattr__ = lambda name: MagicMock(name=name)  # type: ignore[method-assign]
    sys.modules["tests.utils"] = utils
    tokenizers = importlib.import_module("vllm.tokenizers")
    tokenizers.get_tokenizer = lambda *_, **__: _tokenizer()  # type: ignore[attr-defined]


def _command(model: str, options: list[str], port: int) -> list[str]:
    given = dict(zip(options, [*options[1:], ""], strict=True))
    key = given.get("--api-key")
    if is_peer():
        named = {"model_alias": model, "api_key": key}
        shared = {"n_ctx": 8192, "n_slots": 4, "kv_unified": True}
        return peer_command(str(resolve("smollm2-135m")), port, **named, **shared, jinja=True)
    ours = ["--lenient", "--alias", model, *(["--api-key", key] if key else [])]
    if "--shutdown-timeout" in given:
        ours += ["--drain", str(max(float(given["--shutdown-timeout"]), 0.01))]
    return nextword_command("smollm2-135m", port, *ours)


def _tokenizer() -> Any:
    """The model's tokenizer, as transformers reads it."""
    from transformers import AutoTokenizer

    path = Path(resolve("smollm2-135m"))
    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
