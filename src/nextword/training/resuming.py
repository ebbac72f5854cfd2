"""`require_values` and `require_same_recipe`: checks of a stopped run before it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextword.errors import CheckpointError, ConfigError
from nextword.training.machine import DTYPES

_MAY_CHANGE = ("checkpointing", "parallel")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "step": (int,),
    "precision": (str,),
    "data": (dict,),
    "recipe": (dict,),
    "num_skipped": (int,),
    "skipped_in_row": (int,),
    "recent": (list,),
    "best": (int, float, type(None)),
    "since_best": (int,),
    "looked": (int,),
    "versions": (dict,),
}
"""Types of the values of a run's state."""


def require_values(values: Mapping[str, Any], checkpoint: Path) -> None:
    """Raise CheckpointError for a value of the state of a run that is missing, or of another type."""
    for name, types in _TYPES.items():
        if name not in values or type(values[name]) not in types:
            shown = f"is {values[name]!r:.80}" if name in values else "is missing"
            raise CheckpointError(f"{checkpoint}: state.json: {name} {shown}: delete the folder, and start again")
    numbers = all(type(value) in (int, float) for value in values["recent"])
    if not numbers or not isinstance(values["versions"].get("torch"), str) or values["step"] < 0:
        raise CheckpointError(
            f"{checkpoint}: state.json: recent, versions or step is no value of a run: delete the folder, start again"
        )
    if values["precision"] not in DTYPES:
        raise CheckpointError(
            f"{checkpoint}: state.json: precision is {values['precision']!r:.80}, must be one of {', '.join(DTYPES)}: "
            "delete the folder, and start again"
        )


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
