"""Requests that end early: clients that go, time that is up, memory that runs out, servers that stop."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

import nextword as nw
from nextword.errors import RequestError
from nextword.serving.limits import Limits
from tests.serving.client import Answer, Client, events
from tests.serving.faults import FaultyBackend, is_idle, serving, wait_until

PATH = "/v1/completions"
LONG = {"prompt": "ab", "max_tokens": 3000, "logit_bias": {"256": -1000}}


def begun(client: Client, **fields: Any) -> Any:
    """Send a long request and read the beginning of its stream, if it is one."""
    connection = client.connect()
    connection.request("POST", PATH, json.dumps({**LONG, **fields}), {"content-type": "application/json"})
    if fields.get("stream"):
        assert connection.getresponse().read(20)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_ends_its_request(lm: nw.LanguageModel, stream: bool) -> None:
    backend = FaultyBackend(delay=0.002)
    with serving(lm, backend) as (service, client):
        connection = begun(client, stream=stream)
        wait_until(lambda: bool(backend.caches))
        connection.close()
        wait_until(lambda: is_idle(service, backend))
        assert client.get("/health").status == 200


def test_a_client_that_goes_while_its_request_waits_gives_up_its_place(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.02)
    with serving(lm, backend) as (service, client):
        running = begun(client, stream=True, n=16)
        waiting = begun(client)
        wait_until(lambda: service.admission.num_sequences == 1)
        waiting.close()
        wait_until(lambda: service.admission.num_sequences == 0)
        running.close()
        wait_until(lambda: is_idle(service, backend))


def test_a_client_that_goes_during_its_prompt_ends_its_request(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.2)
    with serving(lm, backend) as (service, client):
        connection = begun(client, prompt=[1] * 4000, max_tokens=5)
        wait_until(lambda: bool(backend.caches))
        connection.close()
        wait_until(lambda: is_idle(service, backend))
        assert backend.tokens_computed < 4000


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.02)
    with serving(lm, backend, Limits(max_queue=2)) as (service, client):
        connections = [begun(client, stream=True, n=16), begun(client), begun(client)]
        wait_until(lambda: service.admission.num_sequences == 2)
        answer = client.post(PATH, LONG)
        assert (answer.status, answer.error["code"]) == (429, "queue_full")
        assert 1 <= int(answer.headers["retry-after"]) <= 120
        for connection in connections:
            connection.close()
        wait_until(lambda: is_idle(service, backend))
        assert client.post(PATH, {"prompt": "ab", "max_tokens": 2}).status == 200


def test_a_request_has_a_deadline(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.01)
    with serving(lm, backend, Limits(deadline=0.2)) as (service, client):
        answer = client.post(PATH, LONG)
        assert (answer.status, answer.error["code"]) == (408, "deadline_exceeded")
        streamed = list(events(client.post(PATH, {**LONG, "stream": True}).body))
        assert streamed[-1]["error"]["code"] == "deadline_exceeded"
        wait_until(lambda: is_idle(service, backend))


def test_memory_that_runs_out_ends_the_youngest_request_alone(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.005)

    def lacking() -> None:
        if len(backend.caches) > 1:
            raise RequestError("the KV cache is full")

    with serving(lm, backend) as (service, client):
        first: list[Answer] = []
        thread = threading.Thread(target=lambda: first.append(client.post(PATH, {**LONG, "max_tokens": 100})))
        thread.start()
        wait_until(lambda: bool(backend.caches))
        backend.fault = lacking
        answer = client.post(PATH, LONG)
        assert (answer.status, answer.error["code"]) == (503, "server_overloaded")
        thread.join()
        assert first[0].status == 200
        wait_until(lambda: is_idle(service, backend))


def test_a_step_that_fails_ends_its_requests_and_not_the_server(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend()

    def failing() -> None:
        raise ValueError("secret /path/of/something")

    with serving(lm, backend) as (service, client):
        backend.fault = failing
        answer = client.post(PATH, LONG)
        assert (answer.status, answer.error["code"]) == (500, "internal_error")
        assert b"secret" not in answer.body
        assert client.post(PATH, {**LONG, "stream": True}).body.endswith(b"data: [DONE]\n\n")
        assert client.post(PATH, LONG).status == 500
        assert client.get("/health").status == 503
        backend.fault = lambda: None
        assert client.post(PATH, {"prompt": "ab", "max_tokens": 2}).status == 200
        assert client.get("/health").status == 200
        wait_until(lambda: is_idle(service, backend))


def test_an_engine_thread_that_dies_ends_everything_with_an_error(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend()

    def dying() -> None:
        raise SystemExit

    with serving(lm, backend) as (_, client):
        backend.fault = dying
        assert client.post(PATH, LONG).status == 500
        assert client.get("/health").status == 503
        assert client.post(PATH, LONG).status == 503


def test_a_server_that_ends_finishes_what_runs_and_takes_nothing_new(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.01)
    found: list[Answer] = []
    with serving(lm, backend) as (_, client):
        asked = {**LONG, "max_tokens": 50}
        thread = threading.Thread(target=lambda: found.append(client.post(PATH, asked)))
        thread.start()
        wait_until(lambda: bool(backend.caches))
    thread.join()
    assert found[0].status == 200
    assert found[0].json["usage"]["completion_tokens"] == 50
    with pytest.raises(ConnectionError):
        client.get("/health")


def test_what_runs_longer_than_the_server_waits_ends_with_an_error(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.01)
    found: list[Answer] = []
    with serving(lm, backend, Limits(drain=0.3)) as (_, client):
        thread = threading.Thread(target=lambda: found.append(client.post(PATH, {**LONG, "stream": True})))
        thread.start()
        wait_until(lambda: bool(backend.caches))
        begin = time.monotonic()
    thread.join()
    assert time.monotonic() - begin < 5
    assert list(events(found[0].body))[-1]["error"]["code"] == "shutting_down"


def test_a_client_that_does_not_read_ends_its_request(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend()
    with serving(lm, backend, Limits(write_timeout=0.3)) as (service, client):
        connection = client.connect()
        body = {**LONG, "stream": True, "n": 4, "logprobs": 20}
        connection.request("POST", PATH, json.dumps(body), {"content-type": "application/json"})
        wait_until(lambda: bool(backend.caches))
        wait_until(lambda: is_idle(service, backend), seconds=30)
        connection.close()


def test_a_body_that_does_not_come_ends_its_request(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend(), Limits(read_timeout=0.2)) as (_, client):
        connection = client.connect()
        connection.putrequest("POST", PATH)
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", "100")
        connection.endheaders(b"{")
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["type"]) == (408, "timeout_error")
        connection.close()
