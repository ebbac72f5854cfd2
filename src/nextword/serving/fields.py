"""`Fields`: the fields of a request's JSON, taken by name and type; those that are not known are refused by name."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from nextword.checks import check_value, shown
from nextword.errors import RequestError
from nextword.serving.elsewhere import INSTEAD
from nextword.serving.errors import ApiError
from nextword.serving.limits import Limits

Ignored = list[str] | None
"""Takes the names of fields that are not known and pass; None: they are refused."""
_LONGEST_NAME = 64
"""Characters of an unknown name that are compared with the known ones."""


def parse_json(data: bytes, limits: Limits) -> dict[str, Any]:
    """Parse a request's body. Raises ApiError unless it is one JSON object of bounded depth without repeated names."""
    try:
        # A number read by Python's own code lets other threads run: a list of a million token ids takes 0.2 s.
        hooks: dict[str, Any] = {"object_pairs_hook": _without_duplicates, "parse_int": _whole_number}
        body = json.loads(data, **hooks, parse_constant=_no_number)
    except RecursionError:
        raise ApiError(_too_deep(limits)) from None
    except UnicodeDecodeError as error:
        where = f"byte {data[error.start]:#04x} at position {error.start}"
        raise ApiError(f"the body is not JSON: {where} is no text in {error.encoding.upper()}") from None
    except ValueError as error:
        raise ApiError(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(f"the body is {shown(body)}: must be a JSON object")
    if not _is_flat(body, limits.max_json_depth):
        raise ApiError(_too_deep(limits))
    return body


class Fields:
    """A request's fields, or those of an object in it; a field that is null counts as absent."""

    def __init__(
        self, body: Mapping[str, Any], known: Collection[str], *, ignored: Ignored = None, within: str = ""
    ) -> None:
        """Raises ApiError for a name that is not known, unless there is a list for it.

        `within`: the field that holds the object.
        """
        self.body = body
        self._prefix = f"{within}." if within else ""
        self._ignored = ignored
        unknown = [name for name in body if name not in known]
        if unknown and ignored is None:
            raise self._unknown(unknown[0], known)
        if ignored is not None:
            ignored += [self._prefix + name for name in unknown]

    def inner(self, name: str, known: Collection[str]) -> Fields:
        """Return the fields of the object that a field is; absent, it has none. Raises ApiError as the constructor."""
        given = self.take(name, Mapping[str, Any], {})
        return Fields(given, known, ignored=self._ignored, within=self._prefix + name)

    def has(self, name: str) -> bool:
        """Return True for a field that is there and not null."""
        return self.body.get(name) is not None

    def take(self, name: str, hint: Any, default: Any = None) -> Any:
        """Return the value of a field. Raises ApiError if it has another type."""
        value = self.body.get(name)
        if value is None:
            return default
        param = self._prefix + name
        with_param(param, check_value, param, value, hint)
        return value

    def refuse(self, neutral: Mapping[str, Collection[Any]]) -> None:
        """Raise ApiError for a field that is not served and has not one of the values that change nothing."""
        for name, values in neutral.items():
            if self.has(name) and self.body[name] not in values:
                param = self._prefix + name
                instead = INSTEAD.get(name, "leave it out")
                raise ApiError(f"{param} = {shown(self.body[name])}: is not served here; {instead}", param=param)

    def _unknown(self, name: str, known: Collection[str]) -> ApiError:
        instead = INSTEAD.get(name)
        if instead is None:
            start = name[:_LONGEST_NAME].lower()  # comparing takes time with the square of the length
            near = difflib.get_close_matches(start, known, n=1, cutoff=0.0)
            instead = f"did you mean {near[0]!r}?"
        quoted = shown(self._prefix + name)
        return ApiError(f"unknown field {quoted}: {instead}", param=quoted.strip("'\""))


def with_param(param: str, check: Any, *args: Any) -> Any:
    """Return what a check of a value returns; its RequestError becomes an ApiError about that field."""
    try:
        return check(*args)
    except RequestError as error:
        raise ApiError(str(error), param=param) from None


def _too_deep(limits: Limits) -> str:
    return f"the body nests more than {limits.max_json_depth} deep"


def _is_flat(value: object, depth: int) -> bool:
    """Return True if lists and objects nest no deeper than `depth`."""
    level: list[Any] = [value]
    while level and depth >= 0:
        level = [
            item
            for one in level
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, (dict, list))
        ]
        depth -= 1
    return not level


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{shown(name)} appears twice")
    return found


def _whole_number(digits: str) -> int:
    return int(digits)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
