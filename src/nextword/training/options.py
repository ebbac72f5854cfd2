"""The settings of a recipe as keywords: flat names over nested dataclasses, as flags and recipe files have them.

A keyword is the name of a field in any section of the recipe; its type is the field's. Needs no PyTorch.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from nextword.checks import check_value
from nextword.errors import RequestError

R = TypeVar("R")


def with_options(recipe: R, options: Mapping[str, object]) -> R:
    """Return the recipe with the settings that `options` names.

    Raises RequestError for a name that is no setting or a value of another type, ConfigError for one out of range.
    """
    hints = option_types(type(recipe))
    changed: R = _replaced(recipe, {name: _checked(name, value, hints) for name, value in options.items()})
    return changed


def option_types(recipe_class: type[Any]) -> dict[str, Any]:
    """Collect name and type of all settings of a recipe, sections opened."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(recipe_class).items():
        is_section = isinstance(hint, type) and dataclasses.is_dataclass(hint)
        found |= option_types(hint) if is_section else {name: hint}
    return found


def _replaced(section: Any, values: Mapping[str, object]) -> Any:
    changes: dict[str, object] = {}
    for field in dataclasses.fields(section):
        own = getattr(section, field.name)
        if dataclasses.is_dataclass(own):
            changes[field.name] = _replaced(own, values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(section, **changes)


def _checked(name: str, value: object, hints: Mapping[str, Any]) -> object:
    if name not in hints:
        near = difflib.get_close_matches(name, hints, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(hints))}"
        raise RequestError(f"unknown setting {name!r}: {hint}")
    check_value(name, value, hints[name])
    if isinstance(value, list):
        return tuple(value)
    return float(value) if hints[name] is float and isinstance(value, int) else value
