"""`to_json`: a value as the bytes that go over the connection."""

from __future__ import annotations

import json

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""Made once: `json.dumps` would make one for each token of a stream."""


def to_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return _ENCODER.encode(value).encode()
