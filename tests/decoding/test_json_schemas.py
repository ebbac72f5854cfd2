"""Schemas of all keywords: what random weights write validates, valid instances can be written, invalid ones cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nextword.decoding.constraint import Constraint
from tests.decoding.random_texts import accepts, compiler, is_valid, write_text

ALL = compiler()
ABC = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {}}}
TREE = {
    "type": "object",
    "properties": {"value": {"type": "boolean"}, "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
    "required": ["value"],
    "additionalProperties": False,
}
SHAPES = {
    "oneOf": [
        {"type": "object", "properties": {"kind": {"const": "dot"}}, "required": ["kind"]},
        {"type": "object", "properties": {"kind": {"const": "box"}, "size": {"type": "integer"}}, "required": ["kind"]},
    ]
}
SCHEMAS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "anything": ({}, [None, True, 1.5, "a", [], {"a": [1]}], []),
    "null": ({"type": "null"}, [None], [0, "null"]),
    "boolean": ({"type": "boolean"}, [True, False], [None, 1]),
    "integer": ({"type": "integer"}, [0, -7, 10**20], [1.5, "1"]),
    "number": ({"type": "number"}, [0, -7, 1.5, 1e-5], ["1", None]),
    "string": ({"type": "string"}, ["", 'é\n"\\/', "😀", "\u0000"], [1, None]),
    "array": ({"type": "array"}, [[], [1, "a", [None]]], [{}, "[]"]),
    "object": ({"type": "object"}, [{}, {"a": {"b": []}}], [[], "{}"]),
    "several types": ({"type": ["string", "null"]}, ["a", None], [1, False]),
    "minimum": ({"type": "integer", "minimum": -3, "maximum": 12}, [-3, 0, 12], [-4, 13, 100]),
    "exclusive": ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 4}, [2, 3], [1, 4]),
    "decimal bounds": ({"type": "number", "minimum": 0.5, "maximum": 1.25}, [0.5, 1, 1.25, 0.75], [0.4, 1.3, 2]),
    "bounds of draft 4": (
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "integer",
            "minimum": 1,
            "exclusiveMinimum": True,
        },
        [2, 30],
        [1, 0],
    ),
    "one bound": ({"type": "integer", "minimum": 90}, [90, 100, 12345], [89, -100, 9]),
    "multiple": ({"type": "integer", "multipleOf": 3, "minimum": 0, "maximum": 40}, [0, 3, 39], [1, 40]),
    "decimal multiple": ({"type": "number", "multipleOf": 0.25}, [0.25, 2], [0.3, 1.1]),  # 1.5 as 1.50 alone
    "lengths": ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "é😀漢"], ["a", "abcd", ""]),
    "pattern": ({"type": "string", "pattern": "^[a-f]{2,4}$"}, ["ab", "feed"], ["a", "gg", "abcde"]),
    "pattern inside": ({"type": "string", "pattern": "ab", "maxLength": 4}, ["ab", "xabx"], ["ba", ""]),
    "pattern and length": ({"type": "string", "pattern": "^a+$", "maxLength": 3}, ["a", "aaa"], ["aaaa", "b"]),
    "date": ({"type": "string", "format": "date"}, ["2024-02-29", "1999-12-31"], ["2024-13-01", "24-1-1"]),
    "time": ({"type": "string", "format": "time"}, ["23:59:00Z", "08:30:06+02:00"], ["24:00:00Z", "8:30"]),
    "date and time": ({"type": "string", "format": "date-time"}, ["2024-01-31T10:20:30Z"], ["2024-01-31", "now"]),
    "duration": ({"type": "string", "format": "duration"}, ["P1D", "PT2H30M"], ["1D", "P"]),
    "e-mail": ({"type": "string", "format": "email"}, ["ada@example.org"], ["ada", "@b"]),
    "host": ({"type": "string", "format": "hostname"}, ["example.org", "a"], ["-a", "a b"]),
    "ipv4": ({"type": "string", "format": "ipv4"}, ["127.0.0.1"], ["256.0.0.1", "1.2.3"]),
    "ipv6": ({"type": "string", "format": "ipv6"}, ["::1", "2001:db8::8a2e:370:7334"], ["12345::", "1"]),
    "uuid": ({"type": "string", "format": "uuid"}, ["2eb8aa08-aa98-11ea-b4aa-73b441d16380"], ["2eb8", ""]),
    "uri": ({"type": "string", "format": "uri"}, ["https://example.org/a?b=c#d"], ["//example.org", "a b"]),
    "constant": ({"const": {"a": [1, None, "x"]}}, [{"a": [1, None, "x"]}], [{"a": [1, None]}, "x"]),
    "enumeration": ({"enum": ["a", "ab", 1, None, [2]]}, ["a", "ab", 1, None, [2]], ["b", 2, []]),
    "enumeration of a type": ({"type": "string", "enum": ["a", 1]}, ["a"], [1]),
    "properties": (ABC, [{}, {"a": 1}, {"a": 1, "b": None, "c": "x"}, {"z": 1}], [{"a": "x"}, {"b": 1}]),
    "required": ({**ABC, "required": ["b"]}, [{"b": None}, {"a": 2, "b": None}], [{}, {"a": 1}]),
    "required without its own schema": (
        {"type": "object", "required": ["z"], "additionalProperties": {"type": "integer"}},
        [{"z": 1}, {"z": 1, "y": 2}],
        [{}, {"z": "a"}, {"y": 1}],
    ),
    "no others": ({**ABC, "additionalProperties": False}, [{}, {"a": 1, "c": 2}], [{"z": 1}]),
    "others of a type": ({**ABC, "additionalProperties": {"type": "null"}}, [{"a": 1, "z": None}], [{"z": 1}]),
    "names by pattern": (
        {"type": "object", "patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False},
        [{}, {"x-a": 1, "x-": 2}],
        [{"x-a": "b"}, {"y": 1}],
    ),
    "at least one name": ({"type": "object", "minProperties": 1}, [{"a": 1}], [{}]),
    "at most two names": ({"type": "object", "maxProperties": 2}, [{}, {"a": 1, "b": 2}], [{"a": 1, "b": 2, "c": 3}]),
    "odd names": (
        {"type": "object", "properties": {'a "b"\n': {"const": 1}, "é": {"const": 2}}, "additionalProperties": False},
        [{'a "b"\n': 1, "é": 2}],
        [{"é": 1}],
    ),
    "items": ({"type": "array", "items": {"type": "integer"}}, [[], [1, 2]], [["a"], [1, None]]),
    "numbers of items": ({"type": "array", "minItems": 1, "maxItems": 2}, [[1], [1, "a"]], [[], [1, 2, 3]]),
    "first items": (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False, "minItems": 2},
        [[1, "a"]],
        [[1], ["a", 1], [1, "a", 2]],
    ),
    "items of draft 7": (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "array",
            "items": [{"type": "integer"}],
            "additionalItems": {"type": "null"},
        },
        [[], [1], [1, None]],
        [["a"], [1, 2]],
    ),
    "any of": ({"anyOf": [{"type": "integer", "maximum": 5}, {"type": "string", "maxLength": 1}]}, [5, "a"], [6, "ab"]),
    "any of, with more": (
        {"type": "object", "properties": {"a": {"const": 1}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": 1}, {"b": 2}],
        [{}, {"a": 2}],
    ),
    "all of": (
        {"allOf": [{"type": "integer"}, {"minimum": 3}, {"maximum": 9, "multipleOf": 2}]},
        [4, 8],
        [2, 5, 10, 4.5],
    ),
    "all of objects": (
        {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"], "type": "object"}]},
        [{"a": 1}],
        [{}, {"a": "b"}],
    ),
    "one of": (SHAPES, [{"kind": "dot"}, {"kind": "box", "size": 3}], [{"kind": "hat"}, {"kind": "box", "size": "a"}]),
    "one of types": ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, [1, "a"], [None, 1.5]),
    "a reference": (
        {"$defs": {"age": {"type": "integer", "minimum": 0}}, "type": "array", "items": {"$ref": "#/$defs/age"}},
        [[], [3, 4]],
        [[-1], ["a"]],
    ),
    "a reference by an escaped name": (
        {"definitions": {"a/b~c": {"const": 1}}, "$ref": "#/definitions/a~1b~0c"},
        [1],
        [2],
    ),
    "a schema inside itself": (
        TREE,
        [{"value": True}, {"value": False, "children": [{"value": True, "children": []}]}],
        [{}, {"value": True, "children": [{}]}],
    ),
    "names like keywords": (
        {"type": "object", "properties": {"type": {"const": "not"}, "$ref": {"type": "integer"}}, "required": ["type"]},
        [{"type": "not", "$ref": 1}],
        [{"type": "if"}],
    ),
    "annotations": (
        {
            "title": "T",
            "description": "/* d */ // e",
            "default": 3,
            "examples": [4],
            "deprecated": True,
            "type": "integer",
        },
        [1],
        ["a"],
    ),
    "unknown words": ({"x-order": 1, "type": "integer"}, [1], ["a"]),
    "true and false": (
        {"type": "object", "properties": {"a": True, "b": False}, "additionalProperties": False},
        [{}, {"a": [1]}],
        [{"b": 1}],
    ),
}


def compact(instance: Any) -> str:
    return json.dumps(instance, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_weights_at_temperature_2_write_only_what_validates(name: str) -> None:
    schema, _, _ = SCHEMAS[name]
    grammar = ALL.compile(Constraint("schema", compact(schema)))
    texts = [text for seed in range(6) if (text := write_text(grammar, seed=seed)) is not None]
    assert texts, "no text came to its end"
    assert [text for text in texts if not is_valid(schema, text)] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_valid_instances_can_be_written_and_invalid_ones_cannot(name: str) -> None:
    schema, valid, invalid = SCHEMAS[name]
    grammar = ALL.compile(Constraint("schema", compact(schema)))
    assert [one for one in valid if not is_valid(schema, compact(one))] == [], "the test is wrong"
    assert [one for one in valid if not accepts(grammar, compact(one))] == []
    assert [one for one in invalid if accepts(grammar, compact(one))] == []
