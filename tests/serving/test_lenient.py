"""A lenient server: unknown fields pass at every route, and the log names them; what cannot be served is refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

import nextword as nw
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Answer, Client

MESSAGES = [{"role": "user", "content": "ab"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "ab", "max_tokens": 1},
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 1},
    "/v1/responses": {"input": "ab", "max_output_tokens": 1},
    "/v1/score": {"prompt": "a", "continuations": ["b"]},
    "/v1/distribution": {"prompt": "ab"},
    "/tokenize": {"prompt": "ab"},
    "/detokenize": {"tokens": [97]},
    "/apply-template": {"messages": MESSAGES},
}
INNER: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/completions", {"stream": True, "stream_options": {"other": 1}}, "stream_options.other"),
    ("/v1/completions", {"structured_outputs": {"choice": ["a"], "other": 1}}, "structured_outputs.other"),
    ("/v1/chat/completions", {"response_format": {"type": "text", "other": 1}}, "response_format.other"),
    ("/v1/responses", {"text": {"other": 1}}, "text.other"),
]


@pytest.fixture(scope="module")
def lenient(lm: nw.LanguageModel) -> Iterator[Client]:
    """A client of a lenient server."""
    with ServerThread(Service(lm, lenient=True)) as server:
        yield Client(server.url)


def line_of(caplog: pytest.LogCaptureFixture, answer: Answer) -> str:
    """Return the request's line in the log, which is written after its answer."""
    for _ in range(500):
        for record in list(caplog.records):
            if record.getMessage().startswith(answer.headers["x-request-id"]):
                return record.getMessage()
        time.sleep(0.01)
    raise AssertionError("no line in the log")


@pytest.mark.parametrize(("path", "fields", "name"), [*((path, {"a\nb": 1}, r"a\nb") for path in BODIES), *INNER])
def test_unknown_fields_pass_and_are_in_the_log(
    lenient: Client, client: Client, caplog: pytest.LogCaptureFixture, path: str, fields: dict[str, Any], name: str
) -> None:
    assert client.post(path, {**BODIES[path], **fields}).status == 400
    with caplog.at_level(logging.INFO, "nextword.serving"):
        answer, plain = lenient.post(path, {**BODIES[path], **fields}), lenient.post(path, BODIES[path])
        assert answer.status == plain.status == 200
        assert line_of(caplog, answer).endswith(f" ignored={name}")
        assert "ignored" not in line_of(caplog, plain)


def test_a_line_of_the_log_is_bounded(lenient: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "nextword.serving"):
        answer = lenient.post("/tokenize", {"prompt": "ab", **{"x" * 1000 + str(number): 1 for number in range(1000)}})
        assert len(line_of(caplog, answer)) < 1500


@pytest.mark.parametrize("fields", [{"suffix": "a"}, {"top_k": "a"}, {"use_beam_search": True}])
def test_what_cannot_be_served_is_refused_still(lenient: Client, fields: dict[str, Any]) -> None:
    answer = lenient.post("/v1/completions", {**BODIES["/v1/completions"], **fields})
    assert (answer.status, answer.error["param"]) == (400, next(iter(fields)))
