"""`python -m acceptance.faults FAULT serve ...`: `nextword serve` with wrong answers, which a suite must find."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextword import cli
from nextword.serving import server
from nextword.serving.app import make_app

_JSON = re.compile(rb"^(data: )?(\{.*\})$", re.MULTILINE)
"""An answer, or the data of an event."""
_TEXTS = ("text", "content", "delta", "prompt")
_NUMBERS = itertools.count()
"""Added to texts, so that no two are the same."""
_OTHER_REASON = {"stop": "length", "length": "stop", "completed": "incomplete", "incomplete": "completed"}


def _everywhere(value: Any, change: Callable[[str, Any], Any]) -> Any:
    """Return JSON with each field of each object in it changed."""
    if isinstance(value, list):
        return [_everywhere(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _everywhere(change(name, item), change) for name, item in value.items()}
    return value


def _other_text(name: str, value: Any) -> Any:
    return f"{value}{next(_NUMBERS)}" if name in _TEXTS and isinstance(value, str) and value else value


def _no_log_probs(name: str, value: Any) -> Any:
    return None if name in ("logprobs", "token_logprobs") else value


def _other_end(name: str, value: Any) -> Any:
    return _OTHER_REASON.get(value, value) if name in ("finish_reason", "status") and isinstance(value, str) else value


def _more_tokens(name: str, value: Any) -> Any:
    return value + 1 if name.endswith("_tokens") and isinstance(value, int) else value


def _no_words(name: str, value: Any) -> Any:
    return {} if name == "error" and value else value


FAULTS: Mapping[str, Callable[[str, Any], Any]] = {
    "texts": _other_text,
    "log-probabilities": _no_log_probs,
    "ends": _other_end,
    "usage": _more_tokens,
    "errors": _no_words,
}
"""Changes of a field by name and value: other texts, no log-probabilities, other reasons of the end, too many tokens in
the usage, errors that say nothing."""


class Faulty:
    """ASGI middleware that changes each answer in JSON, and each event."""

    def __init__(self, app: ASGIApp, change: Callable[[str, Any], Any]) -> None:
        self._app, self._change = app, change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def changed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0].lower() != b"content-length"]
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body":
                message = {**message, "body": _JSON.sub(self._edited, message.get("body", b""))}
            await send(message)

        await self._app(scope, receive, changed)

    def _edited(self, found: re.Match[bytes]) -> bytes:
        return (found[1] or b"") + json.dumps(_everywhere(json.loads(found[2]), self._change)).encode()


def main() -> None:
    """Run the command with the fault."""
    change = FAULTS[sys.argv.pop(1)]

    def make_faulty(*args: Any, **options: Any) -> Any:
        app = make_app(*args, **options)
        app.add_middleware(Faulty, change=change)
        return app

    with patch.object(server, "make_app", make_faulty):
        cli.main()


if __name__ == "__main__":
    main()
