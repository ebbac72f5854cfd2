"""The values by which a text gets its form: taken in the forms that people have, refused in one line."""

from __future__ import annotations

import collections
import json
from typing import Any

import pytest

from nextword.decoding.constraint import Constraint
from nextword.decoding.params import SamplingParams, sampling_params
from nextword.errors import RequestError

SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "null"}}, "required": ["b"]}


def constraint(**given: Any) -> Constraint | None:
    return SamplingParams(**given).constraint


@pytest.mark.parametrize("form", [SCHEMA, json.dumps(SCHEMA, indent=2), collections.OrderedDict(SCHEMA)])
def test_a_schema_is_an_object_or_its_json_and_keeps_its_order(form: Any) -> None:
    assert constraint(schema=form) == Constraint("schema", json.dumps(SCHEMA, separators=(",", ":")))


def test_each_form_has_its_parameter() -> None:
    assert constraint() is None
    assert constraint(schema=True) == Constraint("schema", "true")
    assert constraint(regex="a+") == Constraint("regex", "a+")
    assert constraint(grammar='start: "a"') == Constraint("grammar", 'start: "a"')
    assert constraint(choice=["é", "b", "é"]) == Constraint("choice", '["é", "b"]')


def test_parameters_with_a_schema_are_values_like_others() -> None:
    first, second = SamplingParams(schema=SCHEMA), SamplingParams(schema=json.dumps(SCHEMA))  # type: ignore[arg-type]
    assert first == second
    assert hash(first) == hash(second)
    assert sampling_params({}, schema=None, choice=None) == SamplingParams()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"schema": "{"}, "is no JSON"),
    ({"schema": ""}, "is no JSON"),
    ({"schema": "[1]"}, "an object, or true or false"),
    ({"schema": '"a"'}, "an object, or true or false"),
    ({"schema": 3}, "a mapping, or its JSON text"),
    ({"schema": [SCHEMA]}, "a mapping, or its JSON text"),
    ({"schema": {"const": float("nan")}}, "no JSON"),
    ({"schema": '{"const": NaN}'}, "NaN is no number"),
    ({"schema": '{"const": 1e999}'}, "no JSON"),
    ({"schema": '{"type": "null", "type": "string"}'}, "'type' appears twice"),
    ({"schema": {"const": {1, 2}}}, "has no form in JSON"),
    ({"schema": {"const": "\ud800"}}, "surrogate"),
    ({"schema": '{"items":' * 70 + "{}" + "}" * 70}, "nests 71 brackets"),
    ({"schema": '{"items":' * 6000 + "{}" + "}" * 6000}, "nested too deeply|nests"),
    ({"schema": {"description": "x" * 70_000}}, "70,018 bytes"),
    ({"regex": ""}, "not empty"),
    ({"regex": 3}, "not empty"),
    ({"regex": "a" * 70_000}, "70,000 bytes"),
    ({"regex": "(" * 100 + ")" * 100}, "nests 100 brackets"),
    ({"grammar": ""}, "not empty"),
    ({"choice": "yes", "regex": "yes"}, "regex and choice"),
    ({"choice": [""]}, "none of them empty"),
    ({"choice": []}, r"choice = \[\]: must have at least one string"),
    ({"choice": ()}, r"choice = \(\): must have at least one string"),
    ({"choice": (), "regex": "a"}, r"choice = \(\)"),
    ({"choice": {}}, "a list of strings"),
    ({"choice": 3}, "a list of strings"),
    ({"choice": ["x" * 70_000]}, "70,000 bytes"),
    ({"schema": SCHEMA, "regex": "a", "grammar": 'start: "a"'}, "schema and regex and grammar"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_what_is_no_form_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        SamplingParams(**given)
    assert "\n" not in str(caught.value)


def test_a_schema_that_contains_itself_is_refused() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    with pytest.raises(RequestError, match="must be a JSON schema"):
        SamplingParams(schema=schema)  # type: ignore[arg-type]
