"""`lark_text`: a constraint in the language of llguidance, a variant of Lark's."""

from __future__ import annotations

import json
import re

from nextword.checks import shown
from nextword.decoding.constraint import Constraint
from nextword.decoding.gbnf_to_lark import lark_of_gbnf
from nextword.decoding.grammar_errors import check_end, check_names_can_differ, check_patterns
from nextword.errors import RequestError

_OPTIONS = '%llguidance {"no_forcing": true}\n'
"""Allow every token that fits, in the place of those alone by which a text is usually encoded."""
_JSON_OPTIONS = {"whitespace_flexible": False, "lenient": False, "coerce_one_of": False}


def lark_text(constraint: Constraint) -> str:
    """Return a grammar whose texts are those of the constraint. Raises RequestError for what has no such grammar."""
    if constraint.kind == "schema":
        return f"{_OPTIONS}start: {json_symbol(constraint)}"
    if constraint.kind == "tools":
        return _OPTIONS + constraint.text
    if constraint.kind == "choice":
        pattern = "|".join("".join(map(_literal, one)) for one in json.loads(constraint.text))
        return f"{_OPTIONS}start: /{pattern}/"
    if constraint.kind == "regex":
        from llguidance import regex_to_lark

        check_end(constraint.text, f"regex {shown(constraint.text)}")
        return f"{_OPTIONS}start: /{regex_to_lark(_without_anchors(constraint.text), 'd')}/"  # \d is [0-9]
    return _OPTIONS + (lark_of_gbnf(constraint.text) if "::=" in constraint.text else constraint.text)


def json_symbol(constraint: Constraint, separators: tuple[str, str] = (",", ":")) -> str:
    """Return a symbol of a rule for JSON of a schema; `separators`: as those of `json.dumps`."""
    check_names_can_differ(constraint.text)
    check_patterns(constraint.text)
    schema = json.loads(constraint.text, parse_float=_number)
    if schema is False:
        raise RequestError("schema = false: no value fits it")
    options = {**_JSON_OPTIONS, **dict(zip(("item_separator", "key_separator"), separators, strict=True))}
    return f"%json {json.dumps({**({} if schema is True else schema), 'x-guidance': options}, ensure_ascii=False)}"


def _number(digits: str) -> float:
    """Return a number of a schema; 2.0 is a whole number by the standard, and llguidance wants those as 2."""
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _literal(character: str) -> str:
    """Return a character as a regular expression for it alone."""
    return character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):x}}}"


def _without_anchors(pattern: str) -> str:
    """Leave out ^ at the beginning and $ at the end: the whole text is matched anyway."""
    pattern = pattern.removeprefix("^")
    return pattern[:-1] if re.search(r"(?<!\\)(?:\\\\)*\$\Z", pattern) else pattern
