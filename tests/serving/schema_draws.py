"""Values drawn from a JSON schema, or from none: what `/openapi.json` says of a field becomes requests."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
ANYTHING = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        st.sampled_from([10**9, -1, 2**63, 2**64, 10**40, 1e308, "\x00", "‮", "a" * 300, "token_id:1", 0.5]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
"""JSON of any kind, with numbers and texts at the bounds of what servers hold."""


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what draws values of a schema, of the words that `/openapi.json` uses."""
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) if schema["enum"] else st.nothing()
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of(*(values({**schema, "type": one}) for one in kind))
    found: st.SearchStrategy[Any] = _BY_TYPE[kind](schema)
    return found


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1e6))
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 50))
    if schema["type"] == "integer":
        return st.integers(math.ceil(low), math.floor(high))
    shut_low, shut_high = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    return st.floats(low, high, exclude_min=shut_low, exclude_max=shut_high, allow_nan=False)


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"].replace("$", r"\Z"))
    low = schema.get("minLength", 0)
    return TEXTS.filter(lambda text: len(text) >= low)


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
    return st.lists(values(schema.get("items", {})), min_size=least, max_size=most)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    required = {name: values(properties.get(name, {})) for name in schema.get("required", [])}
    others = {name: values(one) for name, one in properties.items() if name not in required}
    fixed = st.fixed_dictionaries(required, optional=others)
    further = schema.get("additionalProperties", {})
    if further is False:
        return fixed
    names = _texts({"type": "string", **schema.get("propertyNames", {})})
    return st.builds(lambda more, own: {**more, **own}, st.dictionaries(names, values(further), max_size=2), fixed)


_BY_TYPE: dict[str | None, Any] = {
    None: lambda schema: ANYTHING,
    "null": lambda schema: st.none(),
    "boolean": lambda schema: st.booleans(),
    "integer": _numbers,
    "number": _numbers,
    "string": _texts,
    "array": _lists,
    "object": _objects,
}
