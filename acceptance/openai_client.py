"""The `openai` package's client, for tests that name models which are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai._base_client import BaseClient


def edit_requests(edit: Callable[[Any], None]) -> None:
    """Let every request of every client pass through `edit`, which may change its `url` and its `json_data`."""
    build = BaseClient._build_request

    def build_edited(self: Any, options: Any, **rest: Any) -> Any:
        edit(options)
        return build(self, options, **rest)

    BaseClient._build_request = build_edited  # type: ignore[method-assign]


def ask_for_model(name: str | None) -> None:
    """Let all requests ask for this model, or for none in particular."""

    def edit(options: Any) -> None:
        if isinstance(options.json_data, dict) and "model" in options.json_data:
            options.json_data = {**options.json_data, "model": name}

    edit_requests(edit)
