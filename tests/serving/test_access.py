"""Who may ask: keys, names of the server, pages of other origins; and what logs and errors say."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator

import pytest

import nextword as nw
from nextword.errors import RequestError
from nextword.serving.security import Access, check_exposure, is_loopback
from nextword.serving.server import ServerThread, listen
from nextword.serving.service import Service
from tests.serving.client import Client
from tests.serving.faults import wait_until

ROUTES = [
    *(("GET", path) for path in ("/v1/models", "/v1/models/tiny", "/metrics", "/props", "/tokenizer_info", "/none")),
    *(("POST", path) for path in ("/v1/completions", "/v1/chat/completions", "/tokenize", "/v1/score", "/health/")),
    ("OPTIONS", "/v1/models"),
]


@pytest.fixture(scope="module")
def guarded(lm: nw.LanguageModel) -> Iterator[Client]:
    access = Access(keys=("one", "two"), cors_origins=("https://page.example",), allowed_hosts=("model.example",))
    with ServerThread(Service(lm), access) as server:
        yield Client(server.url)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_but_health_needs_a_key(guarded: Client, method: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer three"}, {"authorization": "one"}, {"authorization": "Bearer "}):
        answer = guarded.send(method, path, None, headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.send(method, f"{path}?api_key=one&key=one", None, {}).status == 401


def test_each_key_opens_and_health_is_public(guarded: Client) -> None:
    assert guarded.get("/health").status == 200
    assert guarded.get("/v1/models", authorization="Bearer two").status == 200
    assert guarded.get("/v1/models", x_api_key="one").status == 200


def test_keys_are_compared_in_a_time_that_tells_nothing(guarded: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key, whole, whichever is right: by the one function that is made for it."""
    compared: list[bytes] = []

    def spy(given: bytes, key: bytes) -> bool:
        compared.append(key)
        return given == key

    monkeypatch.setattr(hmac, "compare_digest", spy)
    for key, status in (("one", 200), ("two", 200), ("on", 401), ("", 401)):
        compared.clear()
        assert guarded.get("/v1/models", x_api_key=key).status == status
        assert compared == [b"one", b"two"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::2]:80"])
def test_the_server_does_not_answer_to_other_names(client: Client, host: str) -> None:
    assert client.get("/health", host=host).status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
def test_the_server_answers_to_its_own_names(client: Client, host: str) -> None:
    assert client.get("/health", host=host).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://"])
def test_pages_of_other_origins_may_not_ask(client: Client, origin: str) -> None:
    answer = client.post("/v1/completions", {"prompt": "a"}, origin=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def test_pages_that_are_allowed_may_ask_and_read(guarded: Client) -> None:
    asked = {"origin": "https://page.example", "access_control_request_method": "POST"}
    preflight = guarded.send("OPTIONS", "/v1/completions", None, asked)
    assert (preflight.status, preflight.body) == (204, b"")
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    answer = guarded.get("/v1/models", origin="https://page.example", authorization="Bearer one")
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    refused = guarded.send("OPTIONS", "/v1/completions", None, {**asked, "origin": "https://evil.example"})
    assert refused.status == 403


def test_an_open_address_needs_a_key() -> None:
    with pytest.raises(RequestError, match="no key"):
        check_exposure("0.0.0.0", Access(), no_auth=False)
    check_exposure("0.0.0.0", Access(keys=("a",)), no_auth=False)
    check_exposure("0.0.0.0", Access(), no_auth=True)
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org"))


@pytest.mark.parametrize("port", [-1, 65_536, 99_999, 2**70])
def test_a_port_that_is_none_is_refused_and_not_taken_for_another(port: int) -> None:
    with pytest.raises(RequestError, match=f"port = {port}: must be from 0"):
        listen("127.0.0.1", port)


def test_a_log_has_one_line_a_request_without_its_text(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="nextword.serving")
    client.post("/v1/completions", {"prompt": "secret", "max_tokens": 2}, x_request_id="abc")
    client.get("/v1/models/a%0Ab%1B[31m?key=secret")

    def logged() -> list[str]:
        # The line of an earlier test's request may come late.
        lines = [record.getMessage() for record in caplog.records]
        return [line for line in lines if line.startswith("abc ") or "GET /v1/models" in line]

    wait_until(lambda: len(logged()) == 2)
    lines = logged()
    assert lines[0].startswith("abc POST /v1/completions 200 ")
    assert all(line.isprintable() and "secret" not in line for line in lines)


def test_a_name_of_a_model_adds_no_header(client: Client) -> None:
    answer = client.get("/v1/models/a%0D%0Ax-evil:%201")
    assert answer.status == 404
    assert "x-evil" not in answer.headers
