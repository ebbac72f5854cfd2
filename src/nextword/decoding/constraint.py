"""`Constraint`: the form that a completion must have: a JSON schema, a regular expression, a grammar, or a choice.

In: values typed by a person or read from JSON. Out: text of checked syntax and size, which `grammar.py` compiles for a
vocabulary. Knows no tokens.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from nextword.checks import is_unicode, shown
from nextword.decoding.param_checks import check_strings
from nextword.errors import RequestError

ConstraintKind = Literal["schema", "regex", "grammar", "choice", "tools"]

LARGEST_BYTES = 65_536
"""Bound of a constraint's text: beyond those in use, short of what takes long to compile."""
DEEPEST = 64
"""Bound of the brackets inside brackets, which compilers follow by recursion."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """Form that the text of a completion must have from its beginning to its end."""

    kind: ConstraintKind
    """Name of the parameter that it was given by."""
    text: str
    """JSON of a schema, a regular expression, a grammar, a JSON list of strings, or rules for calls of tools."""
    parts: tuple[Constraint, ...] = ()
    """Forms that it is made of, which the user knows."""


def constraint_of(
    *, schema: str | None, regex: str | None, grammar: str | None, choice: tuple[str, ...] | None
) -> Constraint | None:
    """Return the constraint of a call's checked values, None if it has none. Raises RequestError for several."""
    given: dict[ConstraintKind, str | None] = {
        "schema": schema,
        "regex": regex,
        "grammar": grammar,
        "choice": None if choice is None else json.dumps(choice, ensure_ascii=False),
    }
    found = [Constraint(kind, text) for kind, text in given.items() if text is not None]
    if len(found) > 1:
        raise RequestError(f"{' and '.join(one.kind for one in found)}: a text can have one form; give one of them")
    return found[0] if found else None


def check_schema(name: str, value: object) -> object:
    """Check a JSON schema, as an object or as JSON text; return it as compact JSON, keys in the order given."""
    if value is None:
        return None
    if not isinstance(value, str | Mapping | bool):
        raise RequestError(f"{name} = {shown(value)}: must be a JSON schema: a mapping, or its JSON text")
    try:
        schema = _read_json(value) if isinstance(value, str) else value
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain_mapping)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise RequestError(f"{name} = {shown(value)}: must be a JSON schema, and is no JSON: {reason}") from None
    if not isinstance(schema, Mapping | bool):
        raise RequestError(f"{name} = {shown(schema)}: a JSON schema is an object, or true or false")
    return _bounded(name, text)


def check_text(name: str, value: object) -> object:
    """Check a regular expression or a grammar: a text that is not empty, of bounded size."""
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise RequestError(f"{name} = {shown(value)}: must be a string that is not empty")
    return _bounded(name, value)


def check_choice(name: str, value: object) -> object:
    """Check one string or more, none empty, of bounded size together; return a tuple without repetition."""
    if value is None:
        return None
    choice = tuple(dict.fromkeys(check_strings(name, value)))  # type: ignore[call-overload]
    if not choice:
        raise RequestError(f"{name} = {shown(value)}: must have at least one string")
    _check_size(name, sum(len(one.encode()) for one in choice))
    return choice


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_number)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} appears twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _plain_mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{shown(value)} has no form in JSON")


def _bounded(name: str, text: str) -> str:
    if not is_unicode(text):
        raise RequestError(f"{name} = {shown(text)}: must be valid Unicode, and has half of a surrogate pair")
    _check_size(name, len(text.encode()))
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    if deepest > DEEPEST:
        raise RequestError(f"{name} = {shown(text)}: nests {deepest} brackets, and at most {DEEPEST} are allowed")
    return text


def _check_size(name: str, size: int) -> None:
    if size > LARGEST_BYTES:
        raise RequestError(f"{name}: {size:,} bytes, and at most {LARGEST_BYTES:,} are allowed: make it smaller")
