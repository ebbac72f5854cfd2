"""Checks of sampling parameters: a name and a value in; the value as a plain one out, or RequestError.

Each names the field, the value and what is allowed. Knows the kinds of values, not the parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import cast

from nextword.checks import is_unicode, items_of, shown
from nextword.errors import RequestError

LARGEST = 1e6
"""Bound of the numbers that logits are added to, multiplied with or divided by: far beyond use, short of overflow."""

_LARGEST_INTEGER = 2**63 - 1
"""Bound of whole numbers in the C++ core."""

Check = Callable[[str, object], object]


@dataclasses.dataclass(frozen=True)
class Number:
    """Check of a number: its kind and range. Returns the value as a plain int or float."""

    kind: type[int] | type[float]
    low: float
    high: float = math.inf
    above_low: bool = False
    below_high: bool = False
    optional: bool = False

    def __call__(self, name: str, value: object) -> object:
        if value is None and self.optional:
            return None
        expected = Integral if self.kind is int else Real
        if isinstance(value, bool) or not isinstance(value, expected):
            raise _refusal(name, value, self.allowed)
        number = _converted(value, self.kind)
        low_enough = number < self.high if self.below_high else number <= self.high
        high_enough = number > self.low if self.above_low else number >= self.low
        if not math.isfinite(number) or not (low_enough and high_enough):
            raise _refusal(name, value, self.allowed)
        if self.kind is int and self.high == math.inf and number > _LARGEST_INTEGER:
            raise _refusal(name, value, f"{self.allowed}, below 2**63")
        return number

    @property
    def allowed(self) -> str:
        """The kind and range in words."""
        noun = "a whole number" if self.kind is int else "a number"
        low = f"{'above' if self.above_low else 'of at least'} {self.low:g}"
        high = f" and {'below' if self.below_high else 'at most'} {self.high:g}" if self.high < math.inf else ""
        return f"{noun} {low}{high}" + (" or null" if self.optional else "")


def _converted(value: object, kind: type[int] | type[float]) -> float:
    """Convert a number to a plain one; infinite beyond all floats."""
    try:
        float(cast(float, value))
    except OverflowError:
        return math.inf if cast(float, value) > 0 else -math.inf
    return kind(cast(float, value))


class Seed(Number):
    """Check of a seed: half of a Philox key, 64 bits."""

    @property
    def allowed(self) -> str:
        """The range in words."""
        return "a whole number from 0 to 2**64 - 1 or null"


def _refusal(name: str, value: object, allowed: str) -> RequestError:
    return RequestError(f"{name} = {shown(value)}: must be {allowed}")


def check_bool(name: str, value: object) -> object:
    """Check a boolean."""
    if not isinstance(value, bool):
        raise _refusal(name, value, "true or false")
    return value


def check_early_stopping(name: str, value: object) -> object:
    """Check true, false or "never", a boolean or its word; return the word."""
    word = str(value).lower() if isinstance(value, bool) else value
    if not isinstance(word, str) or word not in ("false", "true", "never"):
        raise _refusal(name, value, 'true, false or "never"')
    return word


def one_of(choices: tuple[str, ...]) -> Check:
    """Return a check that refuses all but these strings."""

    def check(name: str, value: object) -> object:
        if not isinstance(value, str) or value not in choices:
            raise _refusal(name, value, f"one of {', '.join(choices)}")
        return value

    return check


def check_strings(name: str, value: object) -> object:
    """Check a string or an iterable of strings, none empty; return a tuple."""
    strings = (value,) if isinstance(value, str) else None if isinstance(value, Mapping) else items_of(value)
    if strings is None:
        raise _refusal(name, value, "a list of strings")
    if not all(isinstance(string, str) and string for string in strings):
        raise _refusal(name, value, "a list of strings, none of them empty")
    if not all(map(is_unicode, strings)):
        raise _refusal(name, value, "valid Unicode, and has half of a surrogate pair")
    return strings


def _token_id(name: str, value: object, whole: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise _refusal(name, whole, "made of token ids (whole numbers of at least 0)")
    return int(value)


def check_token_ids(name: str, value: object) -> object:
    """Check an iterable of token ids; return a tuple."""
    token_ids = None if isinstance(value, (str, Mapping)) else items_of(value)
    if token_ids is None:
        raise _refusal(name, value, "a list of token ids")
    return tuple(_token_id(name, token_id, token_ids) for token_id in token_ids)


def check_logit_bias(name: str, value: object) -> object:
    """Check a mapping from token id to a bounded number or -inf; return a dict."""
    if not isinstance(value, Mapping):
        raise _refusal(name, value, "a mapping from token id to number")
    biases: dict[int, float] = {}
    for token_id, bias in value.items():
        number = math.nan if isinstance(bias, bool) or not isinstance(bias, Real) else _converted(bias, float)
        if not (-LARGEST <= number <= LARGEST or number == -math.inf):
            raise _refusal(f"{name}[{token_id!r}]", bias, f"a number from {-LARGEST:g} to {LARGEST:g}, or -inf")
        biases[_token_id(name, token_id, value)] = number
    return biases
