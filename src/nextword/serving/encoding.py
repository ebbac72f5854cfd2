"""`to_json`: a value as the bytes that go over the connection."""

from __future__ import annotations

import json


def to_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
