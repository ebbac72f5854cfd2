"""`allowed_types`: the types of the values that a JSON schema allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 16
"""Steps through references and alternatives, which may lead in a circle."""
_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}
_ANY = frozenset[str]()


def type_of(value: object) -> str:
    """Return the name of a JSON value's type."""
    return _NAMES[type(value)]


def allowed_types(schema: object, root: Mapping[str, Any], depth: int = 0) -> frozenset[str]:
    """Return the names of the types that a schema allows; none where it says nothing.

    `root`: the schema in which references are.
    """
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return _ANY
    given = schema.get("type")
    if isinstance(given, str | list):
        return frozenset([given] if isinstance(given, str) else [one for one in given if isinstance(one, str)])
    if isinstance(schema.get("enum"), list):
        return frozenset(type_of(value) for value in schema["enum"])
    if "const" in schema:
        return frozenset([type_of(schema["const"])])
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list):
            found = [allowed_types(one, root, depth + 1) for one in schema[name]]
            return frozenset().union(*found) if all(found) else _ANY
    if isinstance(schema.get("$ref"), str):
        return allowed_types(_referred(schema["$ref"], root), root, depth + 1)
    return _ANY


def _referred(reference: str, root: Mapping[str, Any]) -> object:
    """Return the part of a schema that a reference such as #/$defs/Name means; None if there is none."""
    found: object = root
    for name in reference.removeprefix("#/").split("/"):
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
