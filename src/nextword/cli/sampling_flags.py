"""The sampling parameters that a command line says, and no others: what it says goes before what the model's files say.

Flags, types, help and defaults are those of `SamplingParams`. A flag that says the built-in default says it too.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast, get_type_hints

import tyro

from nextword.decoding.params import SamplingOptions, SamplingParams, sampling_params


def check_sampling_flags(said: Mapping[str, object]) -> None:
    """Raise RequestError for a value that no model could make right; to be called before a model is loaded."""
    sampling_params({}, **{"max_tokens": None, **said})  # without a limit that the model's files may raise


def _flags() -> Any:
    """`SamplingParams` as a dictionary type of which nothing has to be there."""
    hints = get_type_hints(SamplingParams)
    helps = _field_docstrings(SamplingParams)
    fields = {field.name: _flag(hints[field.name], field, helps[field.name]) for field in _FIELDS}
    make_type: Any = TypedDict  # type checkers want to see the fields
    return make_type("SamplingFlags", fields, total=False)


def _flag(hint: Any, field: dataclasses.Field[Any], help_text: str) -> Any:
    if field.name == "stop":
        hint = tuple[_EscapedText, ...]
        help_text += r" \n, \t, \r and \u2028 stand for characters, \\ for a backslash."
    if field.name in _EMPTY:
        repeated = tyro.conf.arg(help=help_text, help_behavior_hint="(repeatable)")
        return Annotated[hint, repeated, tyro.conf.UseAppendAction]
    aliases = (f"-{field.name}",) if len(field.name) == 1 else None
    shown = tyro.conf.arg(help=help_text, help_behavior_hint=f"(default: {field.default})", aliases=aliases)
    return Annotated[hint, shown]


def unescaped(text: str) -> str:
    r"""Replace \n, \t, \r, \\ and \uXXXX by the characters that they stand for; other backslashes stay."""
    return _ESCAPE.sub(lambda found: _MEANT.get(found[1]) or chr(int(found[1][1:], 16)), text)


_ESCAPE = re.compile(r"\\(n|t|r|\\|u[0-9a-fA-F]{4})")
_MEANT = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_EscapedText = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda words: unescaped(words[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda text: [text],
    ),
]
"""A string in which a shell's user can write the end of a line."""


def _field_docstrings(cls: type) -> dict[str, str]:
    """The string below each field of a class, which Python itself drops."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


_FIELDS = dataclasses.fields(SamplingParams)
_EMPTY: dict[str, object] = {
    field.name: field.default if field.default == () else {}
    for field in _FIELDS
    if field.default in ((), dataclasses.MISSING)
}
"""Collections, to which the parser has to append, begin empty; empty they say nothing."""
_OFF: dict[str, object] = {field.name: False for field in _FIELDS if field.default is False}
"""Switches begin as off, else they would get no flag to turn them on; off says nothing."""

if TYPE_CHECKING:
    SamplingFlags = SamplingOptions
else:
    SamplingFlags = Annotated[SamplingOptions, tyro.conf.arg(name="", constructor=_flags())]
"""Field of a verb's options: name -> value of the sampling parameters that were given."""


def no_sampling_flags() -> SamplingOptions:
    """Return the default of such a field."""
    return cast(SamplingOptions, {**_EMPTY, **_OFF})
