"""Clients that close the connection, in every state of their request: nothing of it stays, and the server serves on."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

import nextword as nw
from nextword.inference.sequence import Request
from nextword.serving.service import Service
from tests.serving.faults import FaultyBackend, is_idle, serving, wait_until
from tests.serving.raw import connected, request
from tests.serving.test_lifecycle import LONG, PATH, begun


def posted(path: str, body: dict[str, Any]) -> bytes:
    return request("POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode())


def engine_requests(service: Service) -> list[Request]:
    return [one for job in list(service.jobs) for one in job.requests]


@pytest.mark.parametrize("left_out", [len(json.dumps(LONG)), 10])
def test_before_its_body_has_come(lm: nw.LanguageModel, left_out: int) -> None:
    backend = FaultyBackend()
    with serving(lm, backend) as (service, client):
        with connected(client) as opened:
            opened.sendall(posted(PATH, LONG)[:-left_out])
            wait_until(lambda: bool(service._readings))
        wait_until(lambda: not service._readings and service.num_body_bytes == 0)
        assert is_idle(service, backend)
        assert b"client_disconnected_total 1.0" in client.get("/metrics").body


def test_while_its_prompt_is_encoded(lm: nw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FaultyBackend()
    with serving(lm, backend) as (service, client):
        engine, begins = service.lm.engine, list[float]()
        prepare = engine.prepare

        def slow(*args: Any, **options: Any) -> Request:
            begins.append(time.monotonic())
            time.sleep(0.3)
            return prepare(*args, **options)

        monkeypatch.setattr(engine, "prepare", slow)
        with connected(client) as opened:
            opened.sendall(posted(PATH, LONG))
            wait_until(lambda: bool(begins))
        wait_until(lambda: b"client_disconnected_total 1.0" in client.get("/metrics").body)
        time.sleep(0.4)
        assert is_idle(service, backend)
        assert backend.tokens_computed == 0


@pytest.mark.parametrize("stream", [True, False])
def test_while_it_waits_or_was_sent_to_wait_again(lm: nw.LanguageModel, stream: bool) -> None:
    """Of six texts that may become long, memory holds one and a half; one that has run waits again."""
    backend = FaultyBackend(delay=0.001, max_seq_len=256)
    backend.max_positions = 384
    with serving(lm, backend) as (service, client), contextlib.ExitStack() as stack:
        for seed in range(6):
            opened = stack.enter_context(connected(client))
            opened.sendall(posted(PATH, {**LONG, "stream": stream, "seed": seed, "max_tokens": 250}))
        wait_until(lambda: any(one.is_preempted for one in engine_requests(service)))
        stack.close()
        wait_until(lambda: is_idle(service, backend))
        assert client.post(PATH, {"prompt": "ab", "max_tokens": 2}).status == 200


def test_while_its_stream_waits_for_a_place(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.01)
    with serving(lm, backend) as (service, client):
        running = begun(client, stream=True, n=16)
        with connected(client) as opened:
            opened.sendall(posted(PATH, {**LONG, "stream": True}))
            wait_until(lambda: service.admission.num_sequences == 1)
        wait_until(lambda: service.admission.num_sequences == 0)
        running.close()
        wait_until(lambda: is_idle(service, backend))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, {"prompt": [1] * 4000, "echo": True, "logprobs": 1, "max_tokens": 0}),
        ("/v1/score", {"prompt": [1] * 4000, "continuations": [[1], [2]]}),
        ("/v1/distribution", {"prompt": [1] * 4000, "at": [1, 3000]}),
    ],
)
def test_while_its_prompt_is_scored(lm: nw.LanguageModel, path: str, body: dict[str, Any]) -> None:
    backend = FaultyBackend(delay=0.2)
    with serving(lm, backend) as (service, client):
        with connected(client) as opened:
            opened.sendall(posted(path, body))
            wait_until(lambda: bool(backend.caches))
        wait_until(lambda: b"client_disconnected_total 1.0" in client.get("/metrics").body)
        backend.delay = 0.0
        wait_until(lambda: is_idle(service, backend))
        assert client.post(PATH, {"prompt": "ab", "max_tokens": 2}).status == 200
