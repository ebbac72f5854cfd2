"""`/openapi.json` says what the code does: the same routes, fields that are known, and requests that are accepted."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from nextword.serving.openapi import BODIES
from tests.serving.client import Client

EXAMPLES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": ["a", "b"], "max_tokens": 2, "stop": ["x"], "logit_bias": {"3": 1.5}, "seed": None},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "top_p": 0.5},
    "/v1/responses": {"input": "a", "max_output_tokens": 2, "top_p": 0.5},
    "/v1/distribution": {"prompt": "a", "temperature": 0.5, "top": 3},
    "/v1/score": {"prompt": [1, 2], "continuations": ["a", [3]]},
    "/tokenize": {"content": "a", "with_pieces": True},
    "/detokenize": {"tokens": [97]},
    "/apply-template": {"messages": [{"role": "user", "content": "a"}]},
}


def body_schema(client: Client, path: str) -> Any:
    operation = client.get("/openapi.json").json["paths"][path]["post"]
    return operation["requestBody"]["content"]["application/json"]["schema"]


def test_each_route_is_there_with_its_method(client: Client) -> None:
    paths = client.get("/openapi.json").json["paths"]
    assert {path for path, methods in paths.items() if "post" in methods} == set(BODIES)
    for path, methods in paths.items():
        for method in methods:
            concrete = path.replace("{name}", "tiny")
            answer = client.post(concrete, {}) if method == "post" else client.send(method.upper(), concrete, None, {})
            assert answer.status == {"post": 400, "delete": 404, "get": 200}[method], path
        other = client.get(path) if "post" in methods else client.post(path.replace("{name}", "tiny"), {})
        assert other.status == 405


@pytest.mark.parametrize("path", BODIES)
def test_a_request_that_fits_is_accepted(client: Client, path: str) -> None:
    schema = body_schema(client, path)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(EXAMPLES[path], schema)
    assert client.post(path, EXAMPLES[path]).status == 200


@pytest.mark.parametrize("path", BODIES)
def test_each_field_is_known_and_no_other(client: Client, path: str) -> None:
    for name in body_schema(client, path)["properties"]:
        answer = client.post(path, {**EXAMPLES[path], name: EXAMPLES[path].get(name)})
        assert answer.status == 200, (name, answer.body)
    assert "unknown field" in client.post(path, {**EXAMPLES[path], "fieldd": 1}).error["message"]
