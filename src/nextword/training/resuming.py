"""`require_same_recipe`: a resumed run keeps the settings that its weights depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.errors import ConfigError

_MAY_CHANGE = ("checkpointing", "parallel")


def require_same_recipe(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ConfigError for a changed setting; settings of logging, checkpoints and parallelism may change.

    Both are recipes as `dataclasses.asdict` gives them, `old` written to JSON and read again.
    """
    for name, value in new.items():
        if name in _MAY_CHANGE:
            continue
        was = old.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            require_same_recipe(was, value)
        elif (list(value) if isinstance(value, tuple) else value) != was:
            raise ConfigError(f"{name} is {value}, but the run to resume has {was}: use that, or another folder")
