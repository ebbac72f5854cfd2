"""Filters and methods that chat templates may call, and a bound of the cost of each.

In: a name, an operand and arguments. Out: a bound, in characters, of the result's size and of the time that it takes.
What is not in these tables cannot be called: it is in no published template, or has no bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2

from nextword.text.template_budget import ENTRY, STEP, full_size

Cost = Callable[[Any, Sequence[Any]], float]
"""Cost of a call, from its operand and arguments."""

_PART = 64
"""Cost of a string of its own in a list."""
_FIELD = re.compile(r"%[^a-zA-Z%]*[a-zA-Z]|%\([^)]*\)[^a-zA-Z%]*[a-zA-Z]|\{[^{}]*\}")
_COMPUTED = re.compile(r"%[^a-zA-Z%]*\*|\{[^}]*\{")
_SLOWEST = 500
"""Characters that memory moves compare or copy in the time of one that is built."""


def _of_operand(operand: Any, arguments: Sequence[Any]) -> float:
    return full_size(operand)


def _nothing(operand: Any, arguments: Sequence[Any]) -> float:
    return 0.0


def _by_widths(operand: Any, arguments: Sequence[Any]) -> float:
    """A number may be a width or a count, a text a filling."""
    sizes = (max(0.0, float(one)) if isinstance(one, int | float) else full_size(one) for one in arguments)
    return (1.0 + full_size(operand)) * (1.0 + sum(sizes))


def _replaced(operand: Any, arguments: Sequence[Any]) -> float:
    text, (old, new, *_) = str(operand), [*map(str, arguments), "", ""]
    return full_size(text) + float(text.count(old)) * len(new)


def _stripped(operand: Any, arguments: Sequence[Any]) -> float:
    return full_size(operand) + sum(len(str(operand)) * len(str(one)) for one in arguments if one) / _SLOWEST


def _split(operand: Any, arguments: Sequence[Any]) -> float:
    text, separator = str(operand), arguments[0] if arguments else None
    count = text.count(separator) if isinstance(separator, str) and separator else len(text) / 2
    return len(text) + _PART * (1.0 + count) / (1 if separator else 8)


def formatted(operand: Any, arguments: Sequence[Any]) -> float:
    """Bound a formatted text: all digits of a field may be a width. Raises jinja2.TemplateError for computed widths."""
    pattern = str(operand)
    if _COMPUTED.search(pattern):
        raise jinja2.TemplateError("a format whose width is computed")
    fields = _FIELD.findall(pattern)
    widths = sum(float(digits[:12]) for field in fields for digits in re.findall(r"\d+", field))
    return len(pattern) + widths + (1.0 + len(fields)) * 10 * sum(map(full_size, arguments))  # repr escapes 1 as 10


def _wrapped(operand: Any, arguments: Sequence[Any]) -> float:
    """Time grows with the square of a word that is longer than a line."""
    return _by_widths(operand, arguments[1:]) + float(len(str(operand))) ** 2 / _SLOWEST


def _rounded(operand: Any, arguments: Sequence[Any]) -> float:
    digits = max((abs(float(one)) for one in arguments if isinstance(one, int | float)), default=0.0)
    return 0.0 if digits <= 15 else math.inf  # 10 to that power


def _by_attribute(operand: Any, arguments: Sequence[Any]) -> float:
    """Each part of a name such as "a.b.c" is looked up in each item."""
    parts = sum(1 + one.count(".") + one.count(",") for one in arguments if isinstance(one, str))
    items = len(operand) if isinstance(operand, Sequence | Mapping) else 1
    return full_size(operand) + float(STEP) * parts * items / 20


FILTERS: Mapping[str, Cost] = {
    **dict.fromkeys(("abs", "attr", "count", "d", "default", "first", "float", "int", "last", "length"), _nothing),
    **dict.fromkeys(("safe", "random", "filesizeformat", "tojson"), _nothing),
    **dict.fromkeys(("capitalize", "e", "escape", "forceescape", "lower", "string", "title", "upper"), _of_operand),
    **dict.fromkeys(("items", "list", "reverse", "truncate", "wordcount", "dictsort"), _of_operand),
    **dict.fromkeys(("batch", "center", "indent", "slice", "urlencode"), _by_widths),
    **dict.fromkeys(("groupby", "map", "max", "min", "reject", "rejectattr", "select"), _by_attribute),
    **dict.fromkeys(("selectattr", "sort", "sum", "unique", "join"), _by_attribute),
    "format": formatted,
    "replace": _replaced,
    "round": _rounded,
    "trim": _stripped,
    "wordwrap": _wrapped,
}
METHODS: Mapping[type, Mapping[str, Cost]] = {
    str: {
        **dict.fromkeys(("capitalize", "casefold", "encode", "lower", "swapcase", "title", "upper"), _of_operand),
        **dict.fromkeys(("isalnum", "isalpha", "isdecimal", "isdigit", "islower", "isnumeric", "isspace"), _nothing),
        **dict.fromkeys(("isupper", "isascii", "startswith", "endswith", "join"), _nothing),
        **dict.fromkeys(("count", "find", "index", "rfind", "rindex"), _nothing),
        **dict.fromkeys(("partition", "rpartition", "removeprefix", "removesuffix"), _of_operand),
        **dict.fromkeys(("strip", "lstrip", "rstrip"), _stripped),
        **dict.fromkeys(("split", "rsplit", "splitlines"), _split),
        **dict.fromkeys(("center", "expandtabs", "ljust", "rjust", "zfill", "translate"), _by_widths),
        "format": formatted,
        "replace": _replaced,
    },
    bytes: {"decode": _of_operand},
    list: {"copy": _of_operand, "count": _of_operand, "index": _of_operand},
    tuple: {"count": _of_operand, "index": _of_operand},
    dict: {**dict.fromkeys(("get", "items", "keys", "values"), _nothing), "copy": _of_operand},
    int: {},
    float: {},
}
"""Methods of plain data by type; the first type of these that a value has decides."""


def method_cost(owner: Any, name: str, arguments: Sequence[Any]) -> float:
    """Return the cost of a method of plain data. Raises jinja2.exceptions.SecurityError for one that is not known."""
    table = next((costs for kind, costs in METHODS.items() if isinstance(owner, kind)), {})
    if name not in table:
        raise jinja2.exceptions.SecurityError(f"the method {name!r} is not for templates")
    return table[name](owner, arguments)


def operation_cost(operator: str, left: Any, right: Any) -> float:
    """Return the cost of `left operator right`."""
    if operator == "%" and isinstance(left, str | bytes):
        return formatted(left, right if isinstance(right, tuple) else (right,))
    if operator == "+":
        return sum(ENTRY * len(one) if isinstance(one, list | tuple) else full_size(one) for one in (left, right))
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        return float(min(bits, 10**9)) ** 2 / 64  # long multiplication
    if operator == "*":
        times = next((one for one in (left, right) if isinstance(one, int)), 1)
        return float(max(min(times, 10**12), 0)) * max(full_size(left), full_size(right))
    return 0.0
