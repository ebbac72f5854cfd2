"""Requests drawn from `/openapi.json`: each route, and each field with values that fit and that do not.

No answer is a fault of the server, each error has its form (which the client checks), what does not fit is refused by
name, and what is refused although it fits names a field.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nextword.serving.asked import CHAT_FIELDS, COMPLETION_FIELDS
from nextword.serving.openapi import BODIES
from tests.serving.client import Answer, Client
from tests.serving.schema_draws import ANYTHING, values
from tests.serving.test_openapi import EXAMPLES, body_schema

DRAWN = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schemas(client: Client) -> dict[str, Any]:
    return {path: body_schema(client, path) for path in BODIES}


def asked(client: Client, path: str, body: dict[str, Any]) -> Answer:
    """Ask; an answer is a success, or an error about the request that names what it is about."""
    answer = client.post(path, body)
    assert answer.status in (200, 400, 404), (body, answer.body)
    if answer.status != 200:
        assert answer.error["type"] in ("invalid_request_error", "not_found_error")
        assert len(answer.body) < 2000, body
        assert answer.error["param"] is not None, (body, answer.body)
    return answer


@pytest.mark.parametrize("path", BODIES)
def test_each_field_takes_what_fits_and_refuses_the_rest(client: Client, schemas: dict[str, Any], path: str) -> None:
    properties = schemas[path]["properties"]
    fits = {name: jsonschema.Draft202012Validator(one).is_valid for name, one in properties.items()}

    @settings(DRAWN, max_examples=2)
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        for name, schema in properties.items():
            asked(client, path, {**example(path, name), name: data.draw(values(schema), label=name)})
            other = data.draw(ANYTHING.filter(functools.partial(_misses, fits[name])), label=f"not {name}")
            refused = asked(client, path, {**example(path, name), name: other})
            assert refused.status != 200, (name, other)
            assert name in str(refused.error["param"]), (name, other, refused.body)

    ask()


def _misses(fits: Callable[[Any], bool], value: Any) -> bool:
    return not fits(value)


def example(path: str, name: str) -> dict[str, Any]:
    """Return a request to which the field can be added."""
    is_of_chat = path == "/v1/distribution" and name in CHAT_FIELDS and name not in COMPLETION_FIELDS
    return {"messages": [{"role": "user", "content": "a"}]} if is_of_chat else EXAMPLES[path]


@pytest.mark.parametrize("path", BODIES)
def test_many_fields_together_end_in_an_answer(client: Client, schemas: dict[str, Any], path: str) -> None:
    drawn = {name: values(one) for name, one in schemas[path]["properties"].items()}

    @settings(DRAWN, max_examples=25)
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(drawn)), max_size=6, unique=True))
        asked(client, path, {**EXAMPLES[path], **{name: data.draw(drawn[name], label=name) for name in names}})

    ask()
