"""`RecordingFields` and `RecordingDict`: note each field that a reader of settings asks for, and its check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nextword.models.families.fields import ConfigFields, Value


class RecordingDict(dict[str, Any]):
    """A dict that notes the keys that are looked up in it, there or not."""

    def __init__(self, content: Mapping[str, Any], asked: set[str]) -> None:
        super().__init__(content)
        self._asked = asked

    def get(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._asked.add(str(key))
        return super().__contains__(key)


@dataclass
class Seen:
    """Fields that a reader asked for, by name, with the section in front."""

    read: set[str] = field(default_factory=set)
    only: dict[str, tuple[object, ...]] = field(default_factory=dict)
    """Values that a field may have; () where it must be absent or null."""
    flags: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class RecordingFields(ConfigFields):
    """Fields of a settings file that note what is asked of them."""

    seen: Seen = field(default_factory=Seen)

    def has(self, name: str) -> bool:
        self.seen.read.add(self.prefix + name)
        return super().has(name)

    def flag(self, name: str, default: bool | None = None) -> bool:
        self.seen.flags.add(self.prefix + name)
        return super().flag(name, default)

    def choice(self, name: str, choices: Mapping[str, Value], default: str | None = None) -> Value:
        self.seen.only[self.prefix + name] = tuple(choices)
        return super().choice(name, choices, default)

    def section(self, name: str) -> ConfigFields:
        found = super().section(name)
        return RecordingFields(found.content, found.source, found.prefix, self.seen)

    def require(self, name: str, *supported: object) -> None:
        self.seen.only[self.prefix + name] = supported
        ConfigFields(self.content, self.source, self.prefix).require(name, *supported)

    def _value(self, name: str, default: object) -> object:
        self.seen.read.add(self.prefix + name)
        return super()._value(name, default)
