"""What holds for every route: forms of errors, methods, bodies, ids."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

import nextword as nw
from tests.serving.client import Client

COMPLETIONS = "/v1/completions"


def test_the_server_says_that_it_runs(client: Client) -> None:
    assert client.get("/health").json == {"status": "ok"}


def test_models_are_listed_and_shown(client: Client) -> None:
    (model,) = client.get("/v1/models").json["data"]
    assert client.get(f"/v1/models/{model['id']}").json == model
    assert model["meta"]["context"] == 64
    assert client.get("/v1/models/other").error["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/embeddings", 404), ("GET", COMPLETIONS, 405), ("POST", "/health", 405)],
)
def test_errors_of_routes_have_the_form_of_all_errors(client: Client, method: str, path: str, status: int) -> None:
    answer = client.send(method, path, None, {})
    assert (answer.status, answer.error["type"]) == (status, "not_found_error")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"3", b'"a"', b"null", b"\xff", b'{"prompt": NaN}', b'{"prompt": "a", "prompt": "b"}'),
        b'{"prompt": "a", "temperature": 1e400}',
        b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
        b'{"prompt": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"prompt": ' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_request_is_refused(client: Client, body: bytes) -> None:
    answer = client.post(COMPLETIONS, body)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert len(answer.body) < 2000


def test_a_body_of_another_type_is_refused(client: Client) -> None:
    body = json.dumps({"prompt": "a"}).encode()
    assert client.send("POST", COMPLETIONS, body, {"content-type": "text/plain"}).status == 415
    assert client.post(COMPLETIONS, body, content_encoding="gzip").status == 415


def test_a_body_beyond_the_limit_is_refused(client: Client) -> None:
    answer = client.post(COMPLETIONS, {"prompt": "a" * 10_000_001})
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


def test_a_request_keeps_the_id_of_its_client(client: Client) -> None:
    assert client.get("/health", x_request_id="abc-1").headers["x-request-id"] == "abc-1"
    assert len(client.get("/health", x_request_id="a b<").headers["x-request-id"]) == 32


def test_the_client_of_openai_talks_with_it(client: Client, lm: nw.LanguageModel) -> None:
    remote = openai.OpenAI(base_url=f"{client.url}/v1", api_key="any")
    expected = lm.chat([{"role": "user", "content": "ab"}], max_tokens=8, seed=4).text
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "ab"}],
        "max_tokens": 8,
        "seed": 4,
    }
    assert remote.chat.completions.create(**asked).choices[0].message.content == expected
    chunks = remote.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    with pytest.raises(openai.NotFoundError):
        remote.models.retrieve("other")
    remote.close()
