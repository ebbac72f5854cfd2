"""Requests of the lab that are wrong in every way: refused in a line that shows nothing of the machine."""

from __future__ import annotations

import concurrent.futures
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.logit_rows import LogitRows
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Answer, Client

VALUES: tuple[Any, ...] = (
    *(True, -1, 0, 1, 64, 257, 10**9, 2**63, 10**30, 0.5, 1e308, 1e-320, -1e308, "", "a", "\ud800", "\x00", "a" * 70),
    *("../../etc/passwd", [], {}, [1], [-1], [257], [10**30], [1.5], [None], [[1]], [True], [0] * 70, [0, 10**9]),
    *(
        {"seed": 1, "temperature": 1e30},
        {"seed": 1, "top_k": -1},
        [{"role": "user", "content": "x"}],
        [{"role": 5}],
        [{}],
    ),
)
TEXT = {"text": "abc"}
IDS = {"token_ids": [97, 98, 99]}
BODIES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "/lab/read": (TEXT, ("model", "prompt_length", "text", "token_ids", "messages")),
    "/lab/replay": (
        {**IDS, "prompt_length": 1, "params": {"seed": 1}},
        ("model", "token_ids", "prompt_length", "params", "sample_index"),
    ),
    "/lab/compare": ({"models": ["tiny", "tiny"], **TEXT}, ("models", "text", "token_ids", "prompt_length")),
    "/lab/measure": (TEXT, ("model", "text", "selection")),
    "/lab/summarize": (TEXT, ("model", "text", "length", "style")),
    "/lab/training": ({"steps": 0}, ("text", "seed", "lr")),
    "/lab/training/stop": ({}, ("model", "steps")),
    "/lab/training/continue": ({}, ("model",)),
    "/v1/distribution": (
        {"prompt": [97, 98], "seed": 1},
        ("model", "prompt", "messages", "top", "at", "search", "show", "prompt_length", "sample_index"),
    ),
}
"""A good body of each route, and the fields that are then given every value."""


def is_harmless(answer: Answer) -> bool:
    """True for an answer, or a line of refusal, that is strict JSON and names no file or exception."""
    json.loads(answer.body, parse_constant=lambda word: pytest.fail(word))
    shown = answer.body.decode()
    return answer.status in (200, 400, 404, 409) and not any(
        word in shown for word in ("Traceback", "Error(", ".py", "/tmp", "site-packages")
    )


@pytest.mark.parametrize("path", BODIES)
def test_values_of_all_kinds_are_taken_or_refused(client: Client, path: str) -> None:
    good, fields = BODIES[path]
    for field in fields:
        for value in VALUES:
            answer = client.post(path, {**good, field: value})
            assert is_harmless(answer), (field, value, answer.body)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"text": NaN}', b'{"a":' * 100, b"[" * 100_000, b'{"text": "\xff"}']
)
@pytest.mark.parametrize("path", BODIES)
def test_what_is_no_json_object_is_refused(client: Client, path: str, body: bytes) -> None:
    answer = client.post(path, body)
    assert answer.status == 400
    assert is_harmless(answer)


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}])
@pytest.mark.parametrize("path", [*BODIES, "/", "/lab/", "/lab/main.js", "/lab/info", "/lab/training/events"])
def test_pages_of_others_cannot_call(client: Client, path: str, headers: dict[str, str]) -> None:
    answer = client.post(path, {}, **headers) if path in BODIES else client.get(path, **headers)
    assert (answer.status, answer.error["code"]) == (403, None)


@pytest.mark.parametrize(
    "name",
    [
        *("../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "..%5croutes.py", "page/index.html", "/etc/passwd"),
        *("routes.py", "page_files.py", "main.js%00", "main.js/", "MAIN.JS", "main.js.py", "shakespeare.txt", "."),
    ],
)
def test_only_files_of_the_page_are_read(client: Client, name: str) -> None:
    answer = client.get(f"/lab/{name}")
    assert answer.status == 404
    assert is_harmless(answer)


@pytest.fixture
def small(lm: nw.LanguageModel) -> Iterator[tuple[Service, Client]]:
    """A lab that stores five rows of logits."""
    service = Service(lm)
    service.logit_rows = LogitRows(257, most_bytes=5 * 4 * 257)
    with ServerThread(service, routes=lab_routes()) as server:
        yield service, Client(server.url)


def test_rows_that_are_stored_have_a_bound(small: tuple[Service, Client]) -> None:
    service, client = small

    def ask(number: int) -> int:
        return client.post("/v1/distribution", {"prompt": [number, *b"abcdefgh"], "at": [1, 3, 5, 7, 9]}).status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(24))) == {200}
    rows = list(service.logit_rows._rows.values())
    assert len(rows) == 5
    assert all(row.base is None and row.dtype == np.float32 for row in rows)  # none keeps a larger array alive


def test_a_text_beyond_the_stored_rows_is_checked_as_far_as_they_go(
    small: tuple[Service, Client], lm: nw.LanguageModel
) -> None:
    _, client = small
    params: dict[str, Any] = {"seed": 9, "temperature": 1.2}
    ids = [token.token_id for token in lm.generate("abc", max_tokens=12, **params).completions[0].tokens]
    body = {"token_ids": [*b"abc", *ids], "prompt_length": 3, "params": params}
    for length, is_complete in ((3 + len(ids), False), (8, True)):
        found = client.post("/lab/replay", {**body, "token_ids": body["token_ids"][:length]}).json  # type: ignore[index]
        assert (found["first"], found["checked"], found["complete"]) == (None, 5, is_complete)


def test_clients_that_go_leave_nothing_behind(lm: nw.LanguageModel) -> None:
    service, text = Service(lm), b"abc" * 20
    bodies = {path: body for path, (body, _) in BODIES.items() if not path.startswith("/lab/training")}
    bodies["/v1/distribution"] = {"prompt": [*text], "at": [*range(1, 60)], "top": 200, "typical_p": 0.9}
    bodies["/v1/completions"] = {"prompt": "abc", "max_tokens": 60, "stream": True}

    def go_early(address: str, path: str, number: int) -> None:
        body = json.dumps(bodies[path]).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(0.002 * number)

    with ServerThread(service, routes=lab_routes()) as server:
        client = Client(server.url)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for number in range(16):
                for path in bodies:
                    pool.submit(go_early, client.address, path, number)
        deadline = time.monotonic() + 30
        while service.jobs or service.num_body_bytes or lm.engine.cache_share or service.admission.num_sequences:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        text_of_python = lm.generate("abc", max_tokens=30, seed=1).text
        assert client.complete("abc", max_tokens=30, seed=1)["choices"][0]["text"] == text_of_python
