"""`to_json`, `to_json_in_parts`: a value as the bytes that go over the connection."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""Made once: `json.dumps` would make one for each token of a stream."""
_DEPTH_OF_PARTS = 5
"""Nesting of the log-probabilities of a token in an answer."""


def to_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return _ENCODER.encode(value).encode()


def to_json_in_parts(value: object) -> bytes:
    """Return what `to_json` does, for a value of any size: other threads run meanwhile, since no call takes long."""
    parts: list[str] = []
    _append(parts, value, _DEPTH_OF_PARTS)
    return "".join(parts).encode()


def _append(parts: list[str], value: Any, depth: int) -> None:
    if not value or not depth or not isinstance(value, (dict, list)):
        parts.append(_ENCODER.encode(value))
    elif isinstance(value, dict):
        for number, (name, item) in enumerate(value.items()):
            parts.append(f"{',' if number else '{'}{_ENCODER.encode(name)}:")
            _append(parts, item, depth - 1)
        parts.append("}")
    else:
        for number, item in enumerate(value):
            parts.append("," if number else "[")
            _append(parts, item, depth - 1)
        parts.append("]")
