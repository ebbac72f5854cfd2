"""`sampling_overrides`: the sampling parameters in a request's JSON, under our names and those of other servers.

The checks and their messages are those of `SamplingParams`; the bounds of one client are those of `Limits`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from nextword.checks import shown
from nextword.decoding.param_checks import Number
from nextword.decoding.params import SamplingParams, checked
from nextword.errors import NextwordError
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields, with_param
from nextword.serving.limits import Limits

_OWN = tuple(field.name for field in dataclasses.fields(SamplingParams))
_REPORTS = ("logprobs", "processed_logprobs", "echo")
"""Parameters that the two endpoints give in forms of their own."""
ALIASES = {
    "max_completion_tokens": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    "typical": "typical_p",
    "json_schema": "schema",
}
"""Names of other servers -> ours."""
NAMES = (*(name for name in _OWN if name not in _REPORTS), "processed_logprobs", *ALIASES)
"""Fields that `sampling_overrides` reads."""
_DIGITS = 10
"""Digits of the largest token id."""


def sampling_overrides(fields: Fields, limits: Limits) -> dict[str, Any]:
    """Return what a request says about sampling as keywords of `sampling_params`. Raises ApiError naming the field."""
    found: dict[str, Any] = {}
    for given in NAMES:
        name = ALIASES.get(given, given)
        if fields.has(given):  # the newer name comes later, and wins
            value = fields.body[given]
            if name in ("n", "num_beams"):
                with_param(given, Number(int, 1 if name == "n" else 0, limits.max_n), given, value)
            if name in _READERS:
                value = _READERS[name](given, value)
            found[name] = with_param(given, checked, name, value) if given == name else _aliased(given, name, value)
            _check_limit(given, name, found[name], limits)
    return found


def biases_of_allowed(allowed: Collection[int], biases: Mapping[int, float], vocab_size: int) -> dict[int, float]:
    """Return biases that forbid all tokens but some. Raises ApiError if there are none, or ids that are no tokens."""
    wrong = next((token_id for token_id in allowed if not 0 <= token_id < vocab_size), None)
    if wrong is not None or not allowed:
        given = "[]" if wrong is None else wrong
        message = f"allowed_token_ids: {given}: must be a list of token ids from 0 to {vocab_size - 1}, not empty"
        raise ApiError(message, param="allowed_token_ids")
    kept = frozenset(allowed)
    forbidden = dict.fromkeys((one for one in range(vocab_size) if one not in kept), -math.inf)
    return {**biases, **forbidden}


def param_of(error: NextwordError) -> str | None:
    """Return the sampling parameter with which the message of an error begins; None for any other."""
    begin = re.match(r"\w+", str(error))
    return begin[0] if begin is not None and begin[0] in _OWN else None


def _aliased(given: str, name: str, value: Any) -> Any:
    """Check a value that came under another name; the message has the name that the client wrote."""
    try:
        return with_param(given, checked, name, value)
    except ApiError as error:
        raise ApiError(str(error).replace(name, given, 1), param=given) from None


def _seed(name: str, value: Any) -> Any:
    """Map OpenAI's signed seeds to ours, which have no sign: modulo 2**64."""
    if not isinstance(value, int) or isinstance(value, bool) or value >= 0:
        return value
    if value < -(2**63):
        raise ApiError(f"{name} = {shown(value)}: must be a whole number from -2**63 to 2**64 - 1", param=name)
    return value % 2**64


def _logit_bias(name: str, value: Any) -> Any:
    """Read the token ids, which are strings in JSON."""
    if not isinstance(value, Mapping):
        return value
    wrong = next((key for key in value if not (key.isascii() and key.isdigit() and len(key) <= _DIGITS)), None)
    if wrong is not None:
        raise ApiError(f"{name}: {shown(wrong)} is no token id", param=name)
    return {int(key): bias for key, bias in value.items()}


def _top_p(name: str, value: Any) -> Any:
    """Allow 0, which OpenAI allows: the most probable token alone."""
    return 1e-300 if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0 else value


_READERS: Mapping[str, Callable[[str, Any], Any]] = {"seed": _seed, "logit_bias": _logit_bias, "top_p": _top_p}


def _check_limit(given: str, name: str, value: Any, limits: Limits) -> None:
    """Raise ApiError for more than one client may ask for."""
    most = {"stop": limits.max_stops, "stop_token_ids": limits.max_stops, "logit_bias": limits.max_logit_biases}
    if name in most and len(value) > most[name]:
        raise ApiError(f"{given}: has {len(value)} entries, and at most {most[name]} are allowed", param=given)
    if name == "stop" and any(len(one) > limits.max_stop_length for one in value):
        raise ApiError(f"{given}: at most {limits.max_stop_length} characters are allowed in each", param=given)
