"""JSON in parts has the bytes of JSON at once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nextword.serving.encoding import to_json, to_json_in_parts

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@given(values)
def test_parts_together_are_the_whole(value: Any) -> None:
    assert to_json_in_parts(value) == to_json(value)
