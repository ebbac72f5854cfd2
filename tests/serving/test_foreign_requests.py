"""Requests that mean harm by where they come from, and bytes that are none: foreign hosts, pages, keys, smuggling."""

from __future__ import annotations

import json
import logging
import re

import pytest

import nextword as nw
from nextword.serving.security import Access
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Client
from tests.serving.faults import refused
from tests.serving.raw import exchange, request

PATH = "/v1/completions"
CHAT = "/v1/chat/completions"
KEY = "the-key"
HOSTS = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]", "127.0.0.1@evil.example",
         "evil.example:127.0.0.1", "localhost, evil.example", "[localhost", "x" * 10_000]  # fmt: skip
ORIGINS = ["null", "http://evil.example", "http://127.0.0.1:1", "https://localhost", "file://", "http://localhost.evil",
           "chrome-extension://a", "", "x" * 10_000]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_is_refused(alive: Client, host: str) -> None:
    for method, path in (("GET", "/health"), ("GET", "/v1/models"), ("POST", PATH), ("OPTIONS", PATH)):
        refused(alive.send(method, path, None, {"host": host}), 403)


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_origin_is_refused(alive: Client, origin: str) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", PATH), ("OPTIONS", PATH)):
        answer = alive.send(method, path, None, {"origin": origin})
        refused(answer, 403)
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "", "application/jsonx"],
)
def test_what_a_page_may_post_without_asking_is_no_request(alive: Client, kind: str) -> None:
    body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
    for path in (PATH, CHAT, "/tokenize", "/detokenize", "/apply-template", "/v1/score", "/v1/distribution"):
        refused(alive.send("POST", path, body, {"content-type": kind}), 415)


@pytest.mark.parametrize("given", ["a%0d%0aSet-Cookie: x", "a b", "a" * 65, "é", "<script>", "a\tb", ""])
def test_an_id_that_is_none_is_replaced(alive: Client, given: str) -> None:
    answer = alive.send("GET", "/health", None, {"x-request-id": given.encode("latin-1").decode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/v1/models/../../etc/passwd", "/v1/models/%2e%2e/%2e%2e/etc",
        "/v1/models/%00", "/v1/models/%ff", "/v1/models/" + "a" * 10_000, "//evil.example/v1/models", "/v1/models/",
        "/v1/models/%ed%a0%80", "/v1/completions/", "/%0d%0aX:%20y", "/static/../x",
        "/lab/..%5c..%5cx", "/v1//completions",
    ],
)  # fmt: skip
def test_no_path_leads_out(alive: Client, path: str) -> None:
    refused(alive.send("GET", path, None, {}), 404)


def test_a_log_line_is_one_line_without_text_or_key(lm: nw.LanguageModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "nextword")
    with ServerThread(Service(lm), Access(keys=(KEY,))) as server:
        client = Client(server.url)
        for query in (f"?key={KEY}", f"?api_key={KEY}&x=%0a", f"?Authorization=Bearer+{KEY}"):
            refused(client.get("/v1/models" + query), 401)
        client.get("/a%0ainjected%1b[31m%e2%80%ae")
        client.post(PATH, {"prompt": "secret", "max_tokens": 1}, authorization=f"Bearer {KEY}")
        client.post(PATH, {"prompt": "secret", "model": "secret"}, authorization=f"Bearer {KEY}")
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert not any(KEY in line or "secret" in line or not line.isprintable() for line in lines)


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": KEY}, {"authorization": f"Basic {KEY}"}, {"authorization": f"Bearer {KEY}x"},
        {"authorization": "Bearer "}, {"authorization": "Bearer"}, {"x-api-key": "\xe9"}, {"x-api-key": KEY[:-1]},
        {"authorization": "Bearer \xff"}, {"cookie": f"key={KEY}"},
    ],
)  # fmt: skip
def test_every_route_but_health_needs_the_key(lm: nw.LanguageModel, headers: dict[str, str]) -> None:
    service = Service(lm)
    with ServerThread(service, Access(keys=(KEY,))) as server:
        client = Client(server.url)
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE"):
            for path in (
                "/v1/models",
                PATH,
                "/metrics",
                "/props",
                "/tokenize",
                "/",
                "/health/",
                "//health",
                "/v1/health",
            ):
                assert client.send(method, path, None, headers).status == 401, (method, path)
        assert client.get("/health").status == 200
        assert client.get("/v1/models", authorization=f"bearer {KEY}").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n" * 9 + b"\x00\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        request("GET", "/health", {"X": "a" * 300_000}), request("GET", "/" + "a" * 300_000),
        request("POST", PATH, {"Content-Length": "-1"}), request("POST", PATH, {"Content-Length": "1" * 30}),
        request("GET", "/health", {"Transfer-Encoding": "gzip"}), request("GET", "/health", {"X": "a\x00b"}),
        request("GET", "/health", {"X": "a\nInjected: b"})[:-2] + b" folded\x00: 1\r\n\r\n",
        request("POST", PATH, {"Content-Length": "3, 4"}, b"abcd"),
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused_in_form(alive: Client, data: bytes) -> None:
    found = exchange(alive, data)
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), found[:300]
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_a_body_cannot_hide_a_second_request(alive: Client) -> None:
    inner = request("GET", "/v1/models")
    both = {"Transfer-Encoding": "chunked", "Content-Length": str(len(inner)), "Content-Type": "application/json"}
    found = exchange(alive, request("POST", PATH, both, b"0\r\n\r\n" + inner))
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1


CHUNKED = {"Host": "localhost", "Transfer-Encoding": "chunked", "Content-Type": "application/json"}


def chunked(body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in CHUNKED.items())
    return f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize("body", [b"zz\r\nabc\r\n", b"-1\r\na\r\n", b"1\r\nabc\r\n0\r\n\r\n", b"1" * 40 + b"\r\n"])
def test_a_body_in_broken_pieces_is_refused_in_form(alive: Client, body: bytes) -> None:
    head, _, answer = exchange(alive, chunked(body)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "FOO", "PATCH", "PUT"])
def test_methods_that_nobody_serves_are_refused_in_form(alive: Client, method: str) -> None:
    head, _, body = exchange(alive, request(method, PATH, {"Connection": "close"})).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 "), head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_a_connection_is_never_made_a_websocket(alive: Client) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-WebSocket-Version": "13"}
    found = exchange(alive, request("GET", "/health", {**upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
    assert found.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/embeddings"), ("POST", "/v1/images/generations"), ("POST", "/v1/audio/speech"),
        ("POST", "/v1/moderations"), ("GET", "/v1/files"), ("POST", "/v1/batches"), ("POST", "/v1/assistants"),
        ("POST", "/v1/threads/a/runs"), ("GET", "/v1/fine_tuning/jobs"), ("POST", "/v1/rerank"), ("POST", "/infill"),
        ("GET", "/v1/responses/resp_1"), ("GET", "/v1/chat/completions/chatcmpl-1"), ("POST", "/api/generate"),
        ("POST", "/v1/messages"), ("POST", "/v1/vector_stores"), ("DELETE", "/v1/files/f"), ("GET", "/slots"),
    ],
)  # fmt: skip
def test_routes_of_others_are_refused_by_name(client: Client, method: str, path: str) -> None:
    answer = client.send(method, path, b"{}", {"content-type": "application/json"})
    assert (answer.status, answer.error["type"]) == (404, "not_found_error")
    name = answer.error["message"].partition(":")[0]
    assert path.startswith(name)
    assert len(name) > 3
