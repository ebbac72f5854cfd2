"""`decoding_setting`: "greedy", or parameters as in "temperature=0.7 top_p=0.9", read and checked once."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from nextword.decoding.params import SamplingParams, sampling_params
from nextword.errors import RequestError

GREEDY = "greedy"


@dataclass(frozen=True)
class DecodingSetting:
    """Sampling parameters with the text that named them."""

    name: str
    overrides: tuple[tuple[str, object], ...]

    def params(self, base: SamplingParams, *, seed: int) -> SamplingParams:
        """Return the parameters of `base` with these in their place."""
        fields: dict[str, Any] = {"seed": seed, **dict(self.overrides)}
        return dataclasses.replace(base, **fields)


def decoding_setting(words: str) -> DecodingSetting:
    """Read "greedy", or pairs of a sampling parameter and its value, with spaces or commas between them.

    A setting without a temperature samples at temperature 1. Raises RequestError.
    """
    if words.strip() == GREEDY:
        return DecodingSetting(GREEDY, (("temperature", 0.0),))
    overrides: dict[str, object] = {"temperature": 1.0}
    pairs = words.replace(",", " ").split()
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if not is_pair:
            raise RequestError(f"setting {words!r}: {pair!r} is no parameter=value, and not {GREEDY}")
        overrides[name.replace("-", "_")] = _value(words, value)
    if not pairs:
        raise RequestError(f"an empty setting: name {GREEDY} or parameters, as in 'temperature=0.7 top_p=0.9'")
    sampling_params({}, **overrides)
    return DecodingSetting(" ".join(pairs), tuple(overrides.items()))


def _value(words: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise RequestError(f"setting {words!r}: {text!r} is no number") from None
