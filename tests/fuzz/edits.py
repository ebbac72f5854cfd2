"""Edits of JSON documents and of bytes: small values that say what was changed, so that a failure can be read."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hypothesis import strategies as st

_MOST_PLACES, _MOST_ITEMS = 20_000, 24

ODD_NUMBERS = [0, -1, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400]
ODD_FLOATS = [0.5, -0.0, 1e-320, 1e38, 1e308, float("nan"), float("inf"), float("-inf")]
ODD_TEXTS = [
    *("", " ", "a", "\0", "\n\x1b[31m", "\ud800", "é", "e\u0301", "\u202e", "�", "😀", "../../etc/passwd", "/dev/zero"),
    *(
        "a" * 300,
        "a" * 70_000,
        "1",
        "nan",
        "None",
        "{{ 1 }}",
        "(a+)+$",
        "[",
        "\\p{L}",
        "%s",
        "<s>",
        "<|end|>",
        "Ġ",
        "▁",
    ),
]
ODD_LISTS: list[Any] = [[], [[]], [None], [1, "a"], ["a"] * 1000, [0] * 1000, [[[[[[1]]]]]], [1.5], [True]]
ODD_OBJECTS: list[Any] = [{}, {"": None}, {"a": {"a": {}}}, {"type": "Sequence"}, {"id": -1, "content": 3}]
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(ODD_FLOATS),
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(ODD_LISTS),
    st.sampled_from(ODD_OBJECTS),
)
"""Values of the wrong type, at the edges of their range, or with characters that are seldom thought of."""


@dataclass(frozen=True)
class Edit:
    """A change at one place of a document."""

    place: int
    """Index among all places, in the order of the document, modulo their number."""
    action: str
    """replace, remove, add (beside it), copy (another part of the document), or wrap."""
    value: Any = None


EDITS = st.lists(
    st.builds(
        Edit,
        st.integers(0, 10_000),
        st.sampled_from(["replace", "replace", "replace", "remove", "add", "copy", "wrap"]),
        ODD,
    ),
    min_size=1,
    max_size=3,
)


def edited(document: Any, edits: list[Edit]) -> Any:
    """Return a copy of a document with the edits."""
    document = copy.deepcopy(document)
    for edit in edits:
        places = list(islice(_places(document), _MOST_PLACES))
        if not places:
            return document
        parent, key = places[edit.place % len(places)]
        _apply(parent, key, edit, places)
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (parent, key) of each part of a document, of long lists and vocabularies the first items alone."""
    if isinstance(value, (dict, list)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys[:_MOST_ITEMS]:
            yield value, key
            yield from _places(value[key])


def _apply(parent: Any, key: Any, edit: Edit, places: list[Any]) -> None:
    value = copy.deepcopy(edit.value)
    if edit.action == "remove":
        del parent[key]
    elif edit.action == "add":
        if isinstance(parent, list):
            parent.insert(key, value)
        else:
            parent[str(value)[:100]] = value
    elif edit.action == "copy":
        source, other = places[(edit.place * 31 + 7) % len(places)]
        parent[key] = copy.deepcopy(source[other])
    else:
        parent[key] = [parent[key]] if edit.action == "wrap" else value


def to_json(document: object) -> bytes:
    """Write a document as a careless program would: NaN and halves of surrogate pairs as escapes."""
    return json.dumps(document).encode()


@dataclass(frozen=True)
class Damage:
    """A change of bytes: `kind` is set, flip, insert, remove, cut or repeat; `at` a share of the length."""

    kind: str
    at: float
    data: bytes = b""
    size: int = 1


DAMAGES = st.lists(
    st.builds(
        Damage,
        st.sampled_from(["set", "flip", "insert", "remove", "cut", "repeat"]),
        st.floats(0, 1, exclude_max=True, width=32) | st.floats(0, 0.0625, width=32),
        st.sampled_from(
            [b"\0", b"\xff", b"\xff" * 8, b"\0" * 8, b'"', b"{", b"\n", b"\r", b"\xef\xbb\xbf", b"\x80", b"9"]
        ),
        st.sampled_from([1, 2, 4, 8, 100]),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, damages: list[Damage]) -> bytes:
    """Return the bytes with the damages."""
    for one in damages:
        at = int(one.at * len(content))
        before, there, after = content[:at], content[at : at + one.size], content[at + one.size :]
        content = {
            "set": before + one.data + content[at + len(one.data) :],
            "flip": before + bytes(byte ^ 1 << one.size % 8 for byte in there) + after,
            "insert": before + one.data + there + after,
            "remove": before + after,
            "cut": before,
            "repeat": before + there * 3 + after,
        }[one.kind]
    return content
