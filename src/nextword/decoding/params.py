"""What one call asks for: `SamplingParams`, validated once, and how a checkpoint's own defaults come in.

In: values typed by a person or read from JSON. Out: a frozen dataclass whose values the rest of the package trusts.
It does not know what the parameters do; the definitions are in `distribution.py` and `processors.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypedDict, cast, get_args

from nextword.errors import ConfigError, RequestError

LARGEST = 1e6
"""Bound of the numbers that logits are added to, multiplied with or divided by: far beyond use, short of overflow."""

ProcessorOrder = Literal["nextword", "transformers", "vllm", "llama.cpp"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Everything that decides which tokens are chosen, when to stop, and what is reported; see `sampling_params`.

    Raises RequestError naming the field, the value and what is allowed.
    """

    max_tokens: int | None = 256
    """Most tokens to generate; None: as many as the context has room for."""
    temperature: float = 1.0
    """Divides the logits: below 1 makes the distribution greedier, 0 always takes the most probable token."""
    top_k: int = 0
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens with at least this probability mass; 1 keeps all."""
    min_p: float = 0.0
    """Keep tokens at least this fraction as probable as the most probable one; 0 keeps all."""
    typical_p: float = 1.0
    """Keep the tokens whose surprisal is nearest to the entropy, up to this probability mass; 1 keeps all."""
    epsilon_cutoff: float = 0.0
    """Remove tokens less probable than this; 0 keeps all."""
    eta_cutoff: float = 0.0
    """As epsilon-cutoff, with a bound that sinks when the distribution is flat; 0 keeps all."""
    top_n_sigma: float = 0.0
    """Keep tokens whose logit is within this many standard deviations of the largest; 0 keeps all."""
    xtc_probability: float = 0.0
    """How often, from 0 to 1, the most probable choices are left out (XTC); 0: never."""
    xtc_threshold: float = 0.1
    """With XTC, tokens at least this probable count as choices; all but the least probable of them are left out."""
    repetition_penalty: float = 1.0
    """Makes tokens seen in the prompt or the completion less likely by this factor on the logit; 1: off."""
    presence_penalty: float = 0.0
    """Subtracted once from the logit of each token already generated."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a token for each time it was generated."""
    no_repeat_ngram_size: int = 0
    """Never repeat a run of this many tokens; 0: off."""
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict, hash=False)
    """Added to the logits of these token ids; -inf forbids a token."""
    min_tokens: int = 0
    """Generate at least this many tokens before an end-of-sequence or stop token may come."""
    stop: tuple[str, ...] = ()
    """Stop before any of these strings."""
    stop_token_ids: tuple[int, ...] = ()
    """Stop at any of these tokens, besides the model's own end-of-sequence tokens."""
    n: int = 1
    """How many completions to generate for each prompt."""
    seed: int | None = None
    """Makes the draw repeatable: the same prompt, parameters and seed give the same text. None: a new one each time."""
    logprobs: int | None = None
    """Report the log-probability of each token and of this many most probable alternatives; None: none."""
    processed_logprobs: bool = False
    """Report log-probabilities after penalties, temperature and truncation, not those of the model itself."""
    echo: bool = False
    """Return the prompt in front of the completion."""
    order: ProcessorOrder = "nextword"
    """In which program's order temperature and truncations are applied."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check = _NUMBERS.get(field.name) or _OTHERS[field.name]
            object.__setattr__(self, field.name, check(field.name, getattr(self, field.name)))
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            limits = f"min_tokens = {self.min_tokens} is more than max_tokens = {self.max_tokens}"
            raise RequestError(f"{limits}: lower the one or raise the other")

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0.0


class SamplingOptions(TypedDict, total=False):
    """The keywords of `generate`, `stream` and `chat`: the fields of `SamplingParams`, none of which must be given."""

    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    epsilon_cutoff: float
    eta_cutoff: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    logit_bias: Mapping[int, float]
    min_tokens: int
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    n: int
    seed: int | None
    logprobs: int | None
    processed_logprobs: bool
    echo: bool
    order: ProcessorOrder


def sampling_params(generation_defaults: Mapping[str, object], **overrides: object) -> SamplingParams:
    """The parameters of one call: what the call says, else what the checkpoint says, else what is built in.

    `generation_defaults` is the content of the checkpoint's generation_config.json ({} if it has none). `do_sample:
    false` there means temperature 0; a file without `do_sample` has no opinion on it. Keys that are not about sampling
    are ignored, since the file belongs to transformers; its implicit top-k of 50 is not taken over. An override of None
    means "not said", except where None is a value of its own (max_tokens, seed, logprobs).

    Raises RequestError for an unknown or invalid override, ConfigError for an invalid value in the file.
    """
    for name in overrides:
        if name not in _DEFAULTS:
            raise RequestError(f"unknown sampling parameter {name!r}: {_nearest_name(name)}")
    said = {name: value for name, value in overrides.items() if value is not None or name in _NONE_IS_A_VALUE}
    return SamplingParams(**{**_checkpoint_params(generation_defaults), **said})  # type: ignore[arg-type]


def checked(field_name: str, value: object) -> Any:
    """`value` as a plain number if the numeric field of that name may have it; else RequestError."""
    return _NUMBERS[field_name](field_name, value)


_NONE_IS_A_VALUE = ("max_tokens", "seed", "logprobs")

_GENERATION_CONFIG_FIELDS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "epsilon_cutoff": "epsilon_cutoff",
    "eta_cutoff": "eta_cutoff",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "min_new_tokens": "min_tokens",
    "max_new_tokens": "max_tokens",
}
"""Key of generation_config.json -> our field."""


def _checkpoint_params(generation_defaults: Mapping[str, object]) -> dict[str, object]:
    """The fields that a generation_config.json sets, each checked alone so that the message can name the file."""
    found: dict[str, object] = {}
    for key, field_name in _GENERATION_CONFIG_FIELDS.items():
        value = generation_defaults.get(key)
        if value is None:
            continue
        try:
            found[field_name] = _NUMBERS[field_name](key, value)
        except RequestError as error:
            raise ConfigError(f"generation_config.json: {error}") from None
    if generation_defaults.get("do_sample") is False:
        found["temperature"] = 0.0
    return found


def _nearest_name(name: str) -> str:
    near = difflib.get_close_matches(name.replace("-", "_").lower(), _DEFAULTS, n=1, cutoff=0.0)
    return f"did you mean {near[0]!r}?"


@dataclasses.dataclass(frozen=True)
class _Number:
    """A check for one numeric field: its kind and range. Returns the value as a plain int or float."""

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
        number = self.kind(cast(float, value))
        low_enough = number < self.high if self.below_high else number <= self.high
        high_enough = number > self.low if self.above_low else number >= self.low
        if not math.isfinite(number) or not (low_enough and high_enough):
            raise _refusal(name, value, self.allowed)
        return number

    @property
    def allowed(self) -> str:
        noun = "a whole number" if self.kind is int else "a number"
        low = f"{'above' if self.above_low else 'of at least'} {self.low:g}"
        high = f" and {'below' if self.below_high else 'at most'} {self.high:g}" if self.high < math.inf else ""
        return f"{noun} {low}{high}" + (" or null" if self.optional else "")


class _Seed(_Number):
    """A seed is half of a Philox key: 64 bits."""

    @property
    def allowed(self) -> str:
        return "a whole number from 0 to 2**64 - 1 or null"


_NUMBERS: Mapping[str, _Number] = {
    "max_tokens": _Number(int, 0, optional=True),
    "temperature": _Number(float, 0, LARGEST),
    "top_k": _Number(int, 0),
    "top_p": _Number(float, 0, 1, above_low=True),
    "min_p": _Number(float, 0, 1),
    "typical_p": _Number(float, 0, 1, above_low=True),
    "epsilon_cutoff": _Number(float, 0, 1, below_high=True),
    "eta_cutoff": _Number(float, 0, 1, below_high=True),
    "top_n_sigma": _Number(float, 0),
    "xtc_probability": _Number(float, 0, 1),
    "xtc_threshold": _Number(float, 0, 1),
    "repetition_penalty": _Number(float, 1 / LARGEST, LARGEST),
    "presence_penalty": _Number(float, -LARGEST, LARGEST),
    "frequency_penalty": _Number(float, -LARGEST, LARGEST),
    "no_repeat_ngram_size": _Number(int, 0),
    "min_tokens": _Number(int, 0),
    "n": _Number(int, 1),
    "seed": _Seed(int, 0, 2**64, below_high=True, optional=True),
    "logprobs": _Number(int, 0, optional=True),
}


def _refusal(name: str, value: object, allowed: str) -> RequestError:
    return RequestError(f"{name} = {value!r}: must be {allowed}")


def _true_or_false(name: str, value: object) -> object:
    if not isinstance(value, bool):
        raise _refusal(name, value, "true or false")
    return value


def _known_order(name: str, value: object) -> object:
    if value not in get_args(ProcessorOrder):
        raise _refusal(name, value, f"one of {', '.join(get_args(ProcessorOrder))}")
    return value


def _stop_strings(name: str, value: object) -> object:
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, Iterable) or isinstance(strings, Mapping):
        raise _refusal(name, value, "a list of strings")
    strings = tuple(strings)
    if not all(isinstance(string, str) and string for string in strings):
        raise _refusal(name, value, "a list of strings, none of them empty")
    return strings


def _token_id(name: str, value: object, whole: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise _refusal(name, whole, "made of token ids (whole numbers of at least 0)")
    return int(value)


def _token_ids(name: str, value: object) -> object:
    if not isinstance(value, Iterable) or isinstance(value, (str, Mapping)):
        raise _refusal(name, value, "a list of token ids")
    token_ids = tuple(value)
    return tuple(_token_id(name, token_id, token_ids) for token_id in token_ids)


def _logit_bias(name: str, value: object) -> object:
    if not isinstance(value, Mapping):
        raise _refusal(name, value, "a mapping from token id to number")
    biases: dict[int, float] = {}
    for token_id, bias in value.items():
        number = math.nan if isinstance(bias, bool) or not isinstance(bias, Real) else float(bias)
        if not (-LARGEST <= number <= LARGEST or number == -math.inf):
            raise _refusal(f"{name}[{token_id!r}]", bias, f"a number from {-LARGEST:g} to {LARGEST:g}, or -inf")
        biases[_token_id(name, token_id, value)] = number
    return biases


_OTHERS = {
    "logit_bias": _logit_bias,
    "stop": _stop_strings,
    "stop_token_ids": _token_ids,
    "processed_logprobs": _true_or_false,
    "echo": _true_or_false,
    "order": _known_order,
}

_DEFAULTS: Mapping[str, object] = {
    field.name: field.default if field.default is not dataclasses.MISSING else {}
    for field in dataclasses.fields(SamplingParams)
}
