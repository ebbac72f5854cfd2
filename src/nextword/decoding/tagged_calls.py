"""`tagged_call`: a call whose arguments stand in tags, as rules of a grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nextword.decoding.constraint import Constraint
from nextword.decoding.lark_text import json_symbol
from nextword.errors import RequestError
from nextword.text.schema_types import allowed_types
from nextword.text.tool_syntax import CALL_ID, CALL_NUMBER, TaggedArguments
from nextword.text.tool_use import Function

_SEPARATORS = (", ", ": ")
_PYTHON_WORDS = ' | "True" | "False"'
"""Truth values as some templates write them, and their models."""
_TERMINALS = {CALL_ID: "CALL_ID", CALL_NUMBER: "CALL_NUMBER"}
_LENGTHS = ("minLength", "maxLength")
_KEPT = ("type", "title", "description", "default", "examples", "deprecated", "enum", "const", "$ref", *_LENGTHS)
"""Keywords of a text's schema that are kept, or allow everything."""


def tagged_call(name: str, begin: str, tags: TaggedArguments, function: Function) -> Iterator[str]:
    """Yield the rule of a call and those of its arguments, in the order of the schema.

    `begin`: the symbols before the arguments. Raises RequestError for texts of which the schema says more than their
    length, or a list of them.
    """
    given = function.parameters.get("properties")
    properties = given if isinstance(given, Mapping) else {}
    listed = function.parameters.get("required")
    required = listed if isinstance(listed, list) else ()
    rules = {key: f"{name}_{index}" for index, key in enumerate(properties)}
    yield f"{name}: {begin} " + " ".join(rule if key in required else f"{rule}?" for key, rule in rules.items())
    for key, rule in rules.items():
        yield f"{rule}: {literal(tags.key + key + tags.value)} {rule}_value"
        yield from _value(f"{rule}_value", tags, properties[key], function, key)


def _value(rule: str, tags: TaggedArguments, schema: Any, function: Function, key: str) -> Iterator[str]:
    """Yield the rule of a value and what is behind it."""
    types, end = allowed_types(schema, function.parameters), literal(tags.end)
    if types and "string" not in types:
        within = {name: function.parameters[name] for name in ("$defs", "definitions") if name in function.parameters}
        symbol = json_symbol(Constraint("schema", json.dumps({**within, **schema}, ensure_ascii=False)), _SEPARATORS)
        python = _PYTHON_WORDS if types == {"boolean"} and not schema.keys() & {"enum", "const"} else ""
        yield f"{rule}: ({symbol}{python}) {end}"
        return
    known = schema if isinstance(schema, Mapping) else {}
    other = next((name for name in known if name not in _KEPT), None)
    if types == {"string"} and other is not None:
        raise RequestError(
            f"{function.place}: {key} has {other!r}, which calls of this model cannot be held to: leave it out"
        )
    words = [known["const"]] if "const" in known else known.get("enum")
    if isinstance(words, list) and words:
        yield f"{rule}: ({' | '.join(literal(str(word)) for word in words)}) {end}"
    else:
        least, most = (known.get(name, "") for name in _LENGTHS)
        yield f"{rule}[lazy]: /(.|\\n){{{least or 0},{most}}}/ {end}"


def literal(text: str) -> str:
    """Return a text as symbols of a rule: strings, and the terminals of ids and numbers where it has them."""
    parts = [one for one in re.split(f"({CALL_ID}|{CALL_NUMBER})", text) if one]
    return " ".join(_TERMINALS.get(part) or json.dumps(part, ensure_ascii=False) for part in parts)
