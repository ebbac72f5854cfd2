"""`refusal`: the errors of llguidance in words for people: one line, with the place in what the user wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nextword.checks import shown
from nextword.decoding.constraint import Constraint
from nextword.errors import RequestError

_TOO_COMPLEX = re.compile(r"TooComplex|too complex|too large|fuel|limit|exceeded")
NO_TEXT = "NoExtension"
"""Word of llguidance for a text after which no token can follow."""
_NO_TEXT = re.compile(f"{NO_TEXT}|Unsatisfiable schema")


def refusal(constraint: Constraint, error: str) -> RequestError:
    """Return the error for a constraint that llguidance refuses, or cannot go on with."""
    message = error.partition("\n<")[0].strip()
    reason = message.rpartition("error: ")[2].partition("\n")[0]
    reason = re.sub(r"^(at )?\d+\(\d+\): ", "", reason).removeprefix("failed to compile JSON schema: ")
    place = _place(constraint, message, reason)
    if unknown := re.match(r"Unimplemented keys: (.*)", reason):
        reason = f"{', '.join(json.loads(unknown[1]))} cannot be enforced"
    elif reason.startswith("oneOf"):
        reason = "oneOf of schemas that may overlap: use anyOf, or tell them apart by a constant"
    elif reason.startswith("panic"):
        reason = "it cannot be compiled"
    elif _TOO_COMPLEX.search(reason):
        reason = f"it is too complex ({reason})"
    elif _NO_TEXT.search(reason):
        detail = reason.partition("Unsatisfiable schema: ")[2]
        reason = f"no text fits it{f': {detail}' if detail else ' that this vocabulary can write'}"
    written = "" if constraint.kind == "tools" else f" {shown(constraint.text)}"  # in the one case by us
    return RequestError(f"{constraint.kind}{written}{place}: {reason}")


def _place(constraint: Constraint, message: str, reason: str) -> str:
    """Return where the fault is, as far as the message says it."""
    if constraint.kind == "schema":
        path = _path(json.loads(constraint.text), _finder(reason))
        return "" if path is None else f" at {path}"
    found = re.match(r"(?:at )?(\d+)\((\d+)\): ", message)
    if constraint.kind != "grammar" or "::=" in constraint.text or found is None:
        return ""
    return f", line {int(found[1]) - 1}, column {found[2]}"  # the first line is ours


def _finder(reason: str) -> Callable[[str, Any], bool]:
    """Return which keyword, with which value, the message is about."""
    if found := re.match(r"Unimplemented keys: (.*)", reason):
        names = json.loads(found[1])
        return lambda name, value: name in names
    if reason.startswith("oneOf"):
        return lambda name, value: name == "oneOf"
    if found := re.match(r"Unknown format: (.*)", reason):
        unknown = found[1]
        return lambda name, value: name == "format" and value == unknown
    if found := re.match(r"Invalid type: (.*)", reason):
        wrong = found[1]
        return lambda name, value: name == "type" and (value == wrong or (isinstance(value, list) and wrong in value))
    return lambda name, value: False


def check_names_can_differ(text: str) -> None:
    """Refuse a schema that wants more names than it lists, which llguidance might repeat. Raises RequestError."""

    def wants_others(schema: Mapping[str, Any]) -> bool:
        least, listed = schema.get("minProperties", 0), schema.get("required", ())
        return isinstance(least, int | float) and isinstance(listed, list | tuple) and least > len(listed) + 1

    schema = json.loads(text)
    path = next((path for path, inner in _schemas(schema) if wants_others(inner)), None)
    if path is not None:
        raise RequestError(
            f"schema {shown(text)} at {path}/minProperties: names beyond those in required could repeat: list them"
        )


_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SINGLE = ("items", "additionalProperties", "additionalItems")


def _path(schema: object, wanted: Callable[[str, Any], bool]) -> str | None:
    """Return the place of the first wanted keyword, as a JSON pointer; None if there is none."""
    found = (f"{path}/{name}" for path, one in _schemas(schema) for name, value in one.items() if wanted(name, value))
    return next(found, None)


def check_patterns(text: str) -> None:
    """Refuse a schema with a pattern that `check_end` refuses."""
    for path, inner in _schemas(json.loads(text)):
        named = inner.get("patternProperties")
        places = {f"patternProperties/{_escaped(key)}": key for key in named} if isinstance(named, Mapping) else {}
        for place, pattern in {"pattern": inner.get("pattern"), **places}.items():
            if isinstance(pattern, str):
                check_end(pattern, f"schema {shown(text)} at {path}/{place}")


def check_end(pattern: str, what: str) -> None:
    """Refuse a regular expression whose last backslash would escape what we write behind it. Raises RequestError."""
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise RequestError(f"{what}: it ends in a backslash that escapes nothing")


def _schemas(schema: object, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a schema and those inside it, with their places."""
    if isinstance(schema, Mapping):
        yield path, schema
        for place, inner in _inner(schema):
            yield from _schemas(inner, f"{path}/{place}")


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the schemas inside a schema with their places."""
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, Mapping):
            yield from ((f"{name}/{_escaped(key)}", inner) for key, inner in value.items())
        elif name in _LISTED and isinstance(value, list):
            yield from ((f"{name}/{index}", inner) for index, inner in enumerate(value))
        elif name in _SINGLE:
            yield name, value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
