"""Faults of clients and of the engine: half requests, slow readers, many at once, steps and memory that fail."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest

import nextword as nw
from nextword.errors import RequestError
from nextword.serving.limits import Limits
from tests.serving.client import Answer, Client
from tests.serving.faults import FaultyBackend, is_idle, serving, wait_until
from tests.serving.raw import connected, exchange, read_all, request
from tests.serving.test_metrics import measures

PATH = "/v1/completions"
LONG = {"prompt": "ab", "max_tokens": 3000, "logit_bias": {"256": -1000}}
SHORT = {"prompt": "ab", "max_tokens": 2}


def posted(body: dict[str, Any], **headers: str) -> bytes:
    return request("POST", PATH, {"Content-Type": "application/json", **headers}, json.dumps(body).encode())


@pytest.mark.parametrize("data", [b"", b"GET", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"])
def test_headers_that_do_not_come_end_the_connection(lm: nw.LanguageModel, data: bytes) -> None:
    with serving(lm, FaultyBackend(), Limits(read_timeout=0.3)) as (_, client), connected(client) as opened:
        opened.sendall(data)
        assert read_all(opened) == b""


def test_headers_that_come_drop_by_drop_end_the_connection(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend(), Limits(read_timeout=0.5)) as (_, client), connected(client) as opened:
        begin = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011, PT012 -- a reset, or a broken pipe
            for letter in b"GET /health HTTP/1.1\r\nX: " + b"a" * 1000:
                opened.sendall(bytes([letter]))
                time.sleep(0.02)
        assert time.monotonic() - begin < 10


def test_connections_beyond_the_limit_get_an_error_and_give_it_back(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend(), Limits(max_connections=3, read_timeout=0.5)) as (_, client):
        held = [socket.create_connection(("127.0.0.1", int(client.address.rpartition(":")[2]))) for _ in range(3)]
        answer = client.get("/health")
        assert (answer.status, answer.error["code"]) == (503, "too_many_connections")
        wait_until(lambda: client.get("/health").status == 200)
        for one in held:
            one.close()


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_is_not_read_ends_the_connection(lm: nw.LanguageModel, stream: bool) -> None:
    backend = FaultyBackend()
    with serving(lm, backend, Limits(write_timeout=0.3)) as (service, client), connected(client) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = PATH if stream else "/tokenize"
        body: dict[str, Any] = {**LONG, "stream": True, "n": 4, "logprobs": 20}
        if not stream:
            body = {"prompt": "a" * 1_000_000, "with_pieces": True}
        opened.sendall(request("POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode()))
        time.sleep(0.5)
        wait_until(lambda: is_idle(service, backend), seconds=30)
        wait_until(lambda: _is_closed(opened), seconds=30)


def _is_closed(opened: socket.socket) -> bool:
    """Return True once the server has given up the connection: a write is then answered by a reset."""
    try:
        opened.send(b"x")
    except OSError:
        return True
    return False


def test_two_hundred_clients_that_go_leave_nothing_behind(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.001)
    with serving(lm, backend) as (service, client):
        host, _, port = client.address.rpartition(":")
        opened = [socket.create_connection((host, int(port))) for _ in range(200)]
        for index, one in enumerate(opened):
            one.sendall(posted({**LONG, "stream": index % 2 == 0, "n": 1 + index % 3, "max_tokens": 500}))
        time.sleep(0.3)
        for one in opened:
            one.close()
        wait_until(lambda: client.post(PATH, SHORT).status == 200, seconds=20)  # some may still be read, or wait
        wait_until(lambda: is_idle(service, backend), seconds=20)
        assert client.complete(**SHORT)["usage"]["completion_tokens"] == 2
        found = measures(client)
        assert found["nextword:num_requests_running"] == found["nextword:num_requests_waiting"] == 0
        assert found["nextword:kv_cache_usage_perc"] == 0


@pytest.mark.parametrize("error", [RequestError("full"), MemoryError("at 0x7f00"), ValueError("/secret"), OSError(12)])
@pytest.mark.parametrize("method", ["open_cache", "step"])
def test_a_backend_that_raises_ends_requests_and_not_the_server(
    lm: nw.LanguageModel, method: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    backend = FaultyBackend()
    with serving(lm, backend) as (service, client):
        for fields in ({"n": 2}, {"n": 2, "stream": True}, {}):
            with monkeypatch.context() as patch:
                patch.setattr(backend, method, failing)
                answer = client.post(PATH, {**SHORT, **fields})
            assert answer.status in (200, 500, 503)
            assert b"secret" not in answer.body
            assert b"0x7f" not in answer.body
            wait_until(lambda: not service.jobs)
        assert client.complete(**SHORT)["usage"]["completion_tokens"] == 2


def test_a_template_that_raises_is_the_request_s_error(lm: nw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% if messages[0].content == 'x' %}{{ raise_exception('no x') }}{% endif %}{{ messages[0].nothing.a }}"
    with serving(lm, FaultyBackend()) as (_, client):
        monkeypatch.setattr(lm.tokenizer, "chat_template", template)
        for content in ("x", "y"):
            asked = {"messages": [{"role": "user", "content": content}]}
            answer = client.post("/v1/chat/completions", asked)
            assert (answer.status, answer.error["param"]) == (400, "messages")


def test_the_clock_on_the_wall_may_jump(lm: nw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FaultyBackend(delay=0.005)
    with serving(lm, backend, Limits(deadline=5.0)) as (_, client):
        found: list[Answer] = []
        asked = {**LONG, "max_tokens": 50}
        thread = threading.Thread(target=lambda: found.append(client.post(PATH, asked)))
        thread.start()
        wait_until(lambda: bool(backend.caches))
        monkeypatch.setattr(time, "time", lambda: 4e9)
        thread.join()
        assert found[0].status == 200
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert client.post(PATH, SHORT).status == 200


def test_a_connection_serves_on_after_an_error(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend()) as (_, client):
        connection = client.connect()
        for body, status in (({"n": 0}, 400), (SHORT, 200), ({"model": "x"}, 404), (SHORT, 200)):
            connection.request("POST", PATH, json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (status, True)
        connection.close()


def test_requests_that_are_sent_at_once_are_answered_in_order(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend()) as (_, client):
        data = posted(SHORT) + posted({**SHORT, "stream": True}) + posted({"n": 0}) + request("GET", "/health")
        found = exchange(client, data + request("GET", "/props", {"Connection": "close"}))
        statuses = [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [200, 200, 400, 200, 200]


def test_bodies_come_in_pieces_or_not_at_all(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend(), Limits(max_body_bytes=100_000, read_timeout=0.5)) as (_, client):
        kind = "Host: localhost\r\nContent-Type: application/json\r\n"
        head = f"POST {PATH} HTTP/1.1\r\n{kind}Connection: close\r\n".encode()
        chunks = b"".join(b"1\r\n" + bytes([letter]) + b"\r\n" for letter in json.dumps(SHORT).encode())
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        assert exchange(client, chunked + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert exchange(client, head + b"\r\n").startswith(b"HTTP/1.1 400")
        assert exchange(client, chunked + (b"fff\r\n" + b"a" * 4095 + b"\r\n") * 100).startswith(b"HTTP/1.1 413")
        assert exchange(client, head + b"Content-Length: 3\r\n\r\n{").startswith(b"HTTP/1.1 408")
        assert exchange(client, posted(SHORT, Expect="100-continue", Connection="close")).count(b" 200 OK") == 1


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/props", "/metrics", "/tokenizer_info"])
def test_head_is_get_without_a_body(client: Client, path: str) -> None:
    answer = client.send("HEAD", path, None, {})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions", "/v1/models", "/health"])
def test_other_methods_and_slashes_are_refused_in_form(client: Client, path: str) -> None:
    assert client.send("PATCH", path, None, {}).error["type"] == "not_found_error"
    assert client.send("OPTIONS", path, None, {}).status == 405
    assert client.send("GET", path + "/", None, {}).status == 404


def test_the_engine_s_end_is_told_to_all_that_wait(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.01)

    def dying() -> None:
        raise KeyboardInterrupt

    with serving(lm, backend) as (_, client):
        found: list[Answer] = []
        asked = [{**LONG, "n": 16}, LONG, {**LONG, "stream": True}]
        threads = [threading.Thread(target=lambda body=body: found.append(client.post(PATH, body))) for body in asked]
        for thread in threads:
            thread.start()
        wait_until(lambda: bool(backend.caches))
        backend.fault = dying
        for thread in threads:
            thread.join(10)
        assert len(found) == 3
        assert all(answer.status in (500, 503) or b'"error"' in answer.body for answer in found)
        assert client.get("/health").status == 503
        assert client.post("/v1/score", {"prompt": "a", "continuations": ["b"]}).status == 503
        assert client.post("/tokenize", {"prompt": "a"}).status == 200
