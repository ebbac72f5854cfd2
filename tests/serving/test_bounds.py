"""What all clients together may take: bytes of bodies and headers, open files; and steps that others interrupt."""

from __future__ import annotations

import resource
import threading
import warnings
from collections.abc import Iterator
from typing import get_type_hints

import pytest

import nextword as nw
from nextword.errors import OutOfMemoryError, RequestError
from nextword.serving.limits import LimitOptions, Limits
from nextword.serving.open_files import with_open_files
from tests.serving.client import Answer
from tests.serving.faults import FaultyBackend, is_idle, serving, wait_until
from tests.serving.raw import connected, exchange, request
from tests.serving.test_lifecycle import LONG, PATH

SHORT = {"prompt": "ab", "max_tokens": 2}
HOLDS = {"prompt": [1] * 500, "max_tokens": 1000}
"""More of the cache than a score of 4000 tokens leaves."""


def test_the_keywords_of_serve_are_the_fields_of_its_limits() -> None:
    assert get_type_hints(LimitOptions) == get_type_hints(Limits)


def test_bodies_of_all_requests_together_are_bounded(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend(), Limits(max_bodies_bytes=100_000)) as (service, client):
        whole = request("POST", PATH, {"Content-Type": "application/json"}, b" " * 90_001)
        with connected(client) as opened:
            opened.sendall(whole[:-1])
            wait_until(lambda: service.num_body_bytes == 90_000)
            answer = client.post(PATH, {**SHORT, "user": "x" * 20_000})
            assert (answer.status, answer.error["code"]) == (429, "bodies_too_large")
            assert "retry-after" in answer.headers
            assert client.post(PATH, SHORT).status == 200
        wait_until(lambda: service.num_body_bytes == 0)
        assert client.post(PATH, {**SHORT, "user": "x" * 20_000}).status == 200
        assert client.post(PATH, {**SHORT, "user": "x" * 200_000}).status == 429
        assert service.num_body_bytes == 0


@pytest.mark.parametrize("size", [15_000, 20_000, 200_000])
def test_headers_that_come_at_once_are_bounded_too(lm: nw.LanguageModel, size: int) -> None:
    with serving(lm, FaultyBackend()) as (_, client):
        many = {f"X-{index}": "a" * 1000 for index in range(size // 1000)}
        for headers, path in ((many, "/health"), ({"X": "a" * size}, "/health"), ({}, "/health?" + "a" * size)):
            found = exchange(client, request("GET", path, {**headers, "Connection": "close"}))
            status = int(found[9:12])
            assert status == 200 if size < 16_000 else status in (400, 431)


@pytest.fixture
def files() -> Iterator[None]:
    """The bound of open files, given back after the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_are_as_many_as_files_may_be_open(files: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_open_files(Limits(max_connections=300)).max_connections == 300
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 364
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: None)
    with pytest.warns(UserWarning, match="max_connections is 192, not 1024: 256 open files are allowed"):
        assert with_open_files(Limits()).max_connections == 192
    monkeypatch.setattr(resource, "getrlimit", lambda which: (20, 20))
    with pytest.raises(RequestError, match="20 open files"):
        with_open_files(Limits())


@pytest.mark.parametrize("error", [ValueError("/secret"), OutOfMemoryError("full")])
def test_a_score_that_waits_for_memory_has_no_part_in_the_faults_of_others(
    lm: nw.LanguageModel, error: Exception
) -> None:
    """It waits between the steps of what runs; here one of these fails."""
    backend = FaultyBackend(delay=0.001)
    backend.max_positions = 4096

    def failing() -> None:
        if service.admission.num_sequences:
            backend.fault = lambda: None
            raise error

    with serving(lm, backend) as (service, client):
        found: list[Answer] = []
        thread = threading.Thread(target=lambda: found.append(client.post(PATH, LONG | HOLDS)))
        thread.start()
        wait_until(lambda: bool(backend.caches))
        backend.fault = failing
        score = client.post("/v1/score", {"prompt": [1] * 4000, "continuations": [[1]]})
        thread.join()
        is_of_memory = isinstance(error, OutOfMemoryError)
        assert (score.status, found[0].status) == (200, 503 if is_of_memory else 500)
        assert found[0].error["code"] == ("server_overloaded" if is_of_memory else "internal_error")
        assert all(b"secret" not in one.body for one in (score, *found))
        assert client.post(PATH, SHORT).status == 200
        wait_until(lambda: is_idle(service, backend))
