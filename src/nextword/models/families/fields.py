"""`ConfigFields`: typed access to a JSON settings file; errors name file, field and value.

In: the parsed object. Out: numbers, flags and choices. It does not know the meaning of the fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from nextword.errors import CheckpointError

Value = TypeVar("Value")

_LARGEST_INTEGER = 2**53
"""Largest integer that is exact in JSON; settings of models are far smaller."""


@dataclass(frozen=True)
class ConfigFields:
    """Fields of a settings file, or of an object inside it. All getters raise CheckpointError."""

    content: Mapping[str, object]
    source: str
    """Name of the file in messages."""
    prefix: str = ""
    """Path of this object inside the file, such as "rope_scaling."."""

    def has(self, name: str) -> bool:
        """Return True if the field is present and not null."""
        return self.content.get(name) is not None

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer; `default` if the field is absent or null."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST_INTEGER:
            self.refuse(name, "a whole number")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number; `default` if the field is absent or null."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            self.refuse(name, "a finite number")
        return float(value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Return a boolean; `default` if the field is absent or null."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def choice(self, name: str, choices: Mapping[str, Value], default: str | None = None) -> Value:
        """Return the value that `choices` has for the string in the field; `default` if it is absent or null."""
        value = self._value(name, default)
        if not isinstance(value, str) or value not in choices:
            self.refuse(name, f"one of {', '.join(sorted(choices))}")
        return choices[value]

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        values = self.array(name)
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and _is_finite(v) for v in values):
            self.refuse(name, "a list of finite numbers")
        return tuple(float(v) for v in values)  # type: ignore[arg-type]

    def array(self, name: str) -> Sequence[object]:
        """Return a list of values of any type."""
        value = self._value(name, None)
        if not isinstance(value, list | tuple):
            self.refuse(name, "a list")
        return value

    def section(self, name: str) -> ConfigFields:
        """Return the fields of an object inside this one."""
        value = self._value(name, None)
        if not isinstance(value, Mapping):
            self.refuse(name, "an object")
        return ConfigFields(value, self.source, f"{self.prefix}{name}.")

    def require(self, name: str, *supported: object) -> None:
        """Raise CheckpointError unless the field is absent, null or one of the supported values."""
        if self.has(name) and self.content[name] not in supported:
            implemented = " or ".join(_shown(value) for value in supported or (None,))
            self.refuse(name, f"{implemented}; nothing else is implemented")

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise a CheckpointError that names file, field, value and what was expected."""
        seen = _shown(self.content[name]) if name in self.content else "missing"
        raise CheckpointError(f"{self.source}: {self.prefix}{name} is {seen}; expected {expected}")

    def _value(self, name: str, default: object) -> object:
        value = self.content.get(name)
        if value is None:
            value = default
        if value is None:
            self.refuse(name, "a value")
        return value


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: object) -> str:
    """Format a value for a message, in at most 80 characters."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
