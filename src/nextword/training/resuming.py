"""`require_same_recipe`: a run goes on with the settings that its weights depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.errors import ConfigError

_MAY_CHANGE = ("checkpointing", "parallel")


def require_same_recipe(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ConfigError if a setting differs, but for logging, checkpoint and parallelism settings.

    Both are recipes as `dataclasses.asdict` gives them, `old` after a way through JSON.
    """
    for name, value in new.items():
        if name in _MAY_CHANGE:
            continue
        was = old.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            require_same_recipe(was, value)
        elif (list(value) if isinstance(value, tuple) else value) != was:
            raise ConfigError(f"{name} is {value}, but the run that goes on had {was}: say that, or another folder")
