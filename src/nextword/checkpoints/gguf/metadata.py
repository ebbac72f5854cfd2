"""Typed access to GGUF metadata: each getter checks one key, and its error names file, key and value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, cast

from nextword.checkpoints.gguf.stored_strings import StoredStrings
from nextword.errors import CheckpointError


@dataclass(frozen=True)
class GGUFMetadata:
    """Metadata of one file. All getters raise CheckpointError; without a default a missing key is an error."""

    content: Mapping[str, object]
    path: Path
    _read: set[str] = field(default_factory=set, repr=False)

    def has(self, key: str) -> bool:
        """Return True if the key is present."""
        return key in self.content

    def unread(self, prefix: str) -> list[str]:
        """Return the keys with a prefix whose values nothing has asked for."""
        return [key for key in self.content if key.startswith(prefix) and key not in self._read]

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a non-negative integer. A list (a number for each layer) counts as one if all items are equal."""
        value = self._value(key, default)
        if isinstance(value, list) and value and value.count(value[0]) == len(value):
            value = value[0]
        if type(value) is not int or value < 0:
            self.refuse(key, "a whole number, not negative, the same for all layers")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.refuse(key, "a finite number")
        return float(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return a boolean."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._value(key, default)
        if not isinstance(value, str):
            self.refuse(key, "a text")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of strings."""
        texts = self.stored_texts(key)
        return texts.read() if isinstance(texts, StoredStrings) else texts

    def stored_texts(self, key: str) -> list[str] | StoredStrings:
        """Return a list of strings, which may still lie in the file."""
        value = self._value(key, None)
        is_texts = isinstance(value, list) and (not value or isinstance(value[0], str))
        if not isinstance(value, StoredStrings) and not is_texts:
            self.refuse(key, "a list of texts")
        return cast("list[str] | StoredStrings", value)

    def numbers(self, key: str, *, at_least: int) -> list[float]:
        """Return a list of finite numbers, `at_least` of them."""
        value = self._value(key, None)
        is_numbers = isinstance(value, list) and bool(value) and isinstance(value[0], int | float)
        if not is_numbers or not isinstance(value, list) or len(value) < at_least or not all(map(math.isfinite, value)):
            self.refuse(key, f"a list of {at_least} finite numbers")
        return value

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raise a CheckpointError that names file, key, value and what was expected."""
        seen = repr(self.content[key]).replace("\n", " ") if key in self.content else "missing"
        seen = seen if len(seen) <= 80 else seen[:77] + "..."
        raise CheckpointError(f"{self.path}: {key} is {seen}; expected {expected}")

    def value(self, key: str) -> object:
        """Return a value of any type, which is there."""
        value = self._value(key, None)
        return value.read() if isinstance(value, StoredStrings) else value

    def _value(self, key: str, default: object) -> object:
        self._read.add(key)
        value = self.content.get(key, default)
        if value is None:
            self.refuse(key, "a value")
        return value
