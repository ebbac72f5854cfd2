"""`SamplingParams`: the parameters of one call, validated once; `sampling_params` adds a checkpoint's own defaults.

In: values typed by a person or read from JSON. Out: a frozen dataclass whose values the rest of the package trusts.
Each field holds its own check. The parameters are defined in `distribution.py` and `processors.py`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from nextword.checks import known_fields
from nextword.decoding.checkpoint_params import checkpoint_params
from nextword.decoding.constraint import Constraint, check_choice, check_schema, check_text, constraint_of
from nextword.decoding.param_checks import (
    LARGEST,
    Check,
    Number,
    Seed,
    check_bool,
    check_early_stopping,
    check_logit_bias,
    check_strings,
    check_token_ids,
    one_of,
)
from nextword.errors import RequestError

if TYPE_CHECKING:
    from nextword.decoding.biases import Biases

ProcessorOrder = Literal["nextword", "transformers", "vllm", "llama.cpp"]
EarlyStopping = Literal["false", "true", "never"]

MOST_COMPLETIONS = 10_000
"""Bound of n: far beyond use, short of filling the memory with one mistyped number."""

_CHECK = "check"
"""Key of a field's metadata: its `Check`."""


def _field(default: object, check: Check) -> Any:
    return dataclasses.field(default=default, metadata={_CHECK: check})


@known_fields
@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Parameters of one call: which tokens are chosen, when to stop, and what is reported; see `sampling_params`.

    Raises RequestError naming the field, the value and what is allowed.
    """

    max_tokens: int | None = _field(256, Number(int, 0, optional=True))
    """Maximum number of tokens to generate; None: up to the context length."""
    temperature: float = _field(1.0, Number(float, 0, LARGEST))
    """Divide the logits: below 1 makes the distribution greedier, 0 always takes the most probable token."""
    top_k: int = _field(0, Number(int, 0))
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: float = _field(1.0, Number(float, 0, 1, above_low=True))
    """Keep the smallest set of most probable tokens with at least this probability mass; 1 keeps all."""
    min_p: float = _field(0.0, Number(float, 0, 1))
    """Keep tokens at least this fraction as probable as the most probable one; 0 keeps all."""
    typical_p: float = _field(1.0, Number(float, 0, 1, above_low=True))
    """Keep the tokens whose surprisal is nearest to the entropy, up to this probability mass; 1 keeps all."""
    epsilon_cutoff: float = _field(0.0, Number(float, 0, 1, below_high=True))
    """Remove tokens less probable than this; 0 keeps all."""
    eta_cutoff: float = _field(0.0, Number(float, 0, 1, below_high=True))
    """Remove tokens less probable than a threshold that falls as the entropy rises; 0 keeps all."""
    top_n_sigma: float = _field(0.0, Number(float, 0))
    """Keep tokens whose logit is within this many standard deviations of the largest; 0 keeps all."""
    xtc_probability: float = _field(0.0, Number(float, 0, 1))
    """Probability of leaving out the most probable tokens at a position (XTC); 0: never."""
    xtc_threshold: float = _field(0.1, Number(float, 0, 1))
    """XTC leaves out all but the least probable of the tokens that are at least this probable."""
    p_less: bool = _field(False, check_bool)
    """Keep tokens at least as probable as a draw is to repeat itself: the sum of all squared probabilities."""
    dynatemp_range: float = _field(0.0, Number(float, 0, LARGEST))
    """Vary the temperature by up to this much: lower where the model is sure, higher where it is not; 0: off."""
    dynatemp_exponent: float = _field(1.0, Number(float, 0, LARGEST))
    """Power of the normalised entropy that moves the temperature through its range."""
    mirostat_tau: float = _field(0.0, Number(float, 0, LARGEST))
    """Hold the surprisal of the text at this many bits a token (mirostat 2), in place of all truncations; 0: off."""
    mirostat_eta: float = _field(0.1, Number(float, 0, LARGEST))
    """Rate at which mirostat corrects its bound."""
    repetition_penalty: float = _field(1.0, Number(float, 1 / LARGEST, LARGEST))
    """Make tokens of the prompt and the completion less likely by this factor on the logit; 1: off."""
    presence_penalty: float = _field(0.0, Number(float, -LARGEST, LARGEST))
    """Subtract once from the logit of each token already generated."""
    frequency_penalty: float = _field(0.0, Number(float, -LARGEST, LARGEST))
    """Subtract from the logit of a token for each time it was generated."""
    no_repeat_ngram_size: int = _field(0, Number(int, 0))
    """Never repeat a run of this many tokens; 0: off."""
    dry_multiplier: float = _field(0.0, Number(float, 0, LARGEST))
    """Make tokens that would prolong a repetition less likely, the more the longer it is (DRY); 0: off."""
    dry_base: float = _field(1.75, Number(float, 1, LARGEST))
    """DRY subtracts multiplier x base ** (length of the repetition - allowed length)."""
    dry_allowed_length: int = _field(2, Number(int, 1))
    """DRY leaves repetitions below this length alone."""
    dry_range: int = _field(-1, Number(int, -1))
    """DRY looks at this many last tokens; -1: all."""
    dry_sequence_breakers: tuple[str, ...] = _field(("\n", ":", '"', "*"), check_strings)
    r"""No repetition reaches across tokens with one of these strings in them; by default \n, :, " and *."""
    logit_bias: Mapping[int, float] = dataclasses.field(
        default_factory=dict, hash=False, metadata={_CHECK: check_logit_bias}
    )
    """Add to the logits of these token ids; -inf forbids a token."""
    min_tokens: int = _field(0, Number(int, 0))
    """Generate at least this many tokens before an end-of-sequence or stop token may come."""
    stop: tuple[str, ...] = _field((), check_strings)
    """Stop before any of these strings."""
    stop_token_ids: tuple[int, ...] = _field((), check_token_ids)
    """Stop at any of these tokens, besides the model's own end-of-sequence tokens."""
    schema: str | None = _field(None, check_schema)
    """Write JSON that this JSON schema allows."""
    regex: str | None = _field(None, check_text)
    """Write a text that this regular expression matches as a whole."""
    grammar: str | None = _field(None, check_text)
    """Write a text of this grammar, in Lark's or llama.cpp's form (GBNF)."""
    choice: tuple[str, ...] | None = _field(None, check_choice)
    """Write one of these strings."""
    guidance_scale: float = _field(1.0, Number(float, -LARGEST, LARGEST))
    """Move away from what follows the negative prompt, the more the further above 1 (classifier-free); 1: off."""
    contrastive_alpha: float = _field(0.0, Number(float, 0, 1))
    """Prefer what the amateur does not expect among tokens this times as probable as the first, or more; 0: off."""
    amateur_temperature: float = _field(1.0, Number(float, 0.01, 100))
    """Divide the logits of the amateur, a weaker model, in contrastive decoding."""
    num_beams: int = _field(0, Number(int, 0, MOST_COMPLETIONS))
    """Search for the most probable texts with this many beams, in place of sampling; 0: sample."""
    length_penalty: float = _field(1.0, Number(float, -10, 10))
    """A beam search ranks texts by the sum of their log-probabilities / length ** this; above 0 favours long ones."""
    early_stopping: EarlyStopping = dataclasses.field(default="false", metadata={_CHECK: check_early_stopping})
    """End a beam search with num_beams texts (true), if none of this length is better (false), or of any (never)."""
    n: int = _field(1, Number(int, 1, MOST_COMPLETIONS))
    """Number of completions to generate for each prompt."""
    seed: int | None = _field(None, Seed(int, 0, 2**64, below_high=True, optional=True))
    """Make sampling reproducible: the same prompt, parameters and seed give the same text. None: a new seed."""
    logprobs: int | None = _field(None, Number(int, 0, optional=True))
    """Report the log-probability of each token and of this many most probable alternatives; None: none."""
    processed_logprobs: bool = _field(False, check_bool)
    """Report log-probabilities after penalties, temperature and truncation, not those of the model itself."""
    echo: bool = _field(False, check_bool)
    """Return the prompt in front of the completion."""
    order: ProcessorOrder = dataclasses.field(default="nextword", metadata={_CHECK: one_of(get_args(ProcessorOrder))})
    """Program in whose order temperature and truncations are applied."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checked(field.name, getattr(self, field.name)))
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            limits = f"min_tokens = {self.min_tokens} is more than max_tokens = {self.max_tokens}"
            raise RequestError(f"{limits}: lower the one or raise the other")
        if self.num_beams:
            self._check_search()
        if self.guidance_scale != 1.0 and self.contrastive_alpha > 0.0:
            raise RequestError(
                f"guidance_scale = {self.guidance_scale} and contrastive_alpha = {self.contrastive_alpha}: a text has "
                "one guide; leave out the one or the other"
            )
        form = self.constraint
        if form is not None and self.contrastive_alpha > 0.0:
            raise RequestError(
                f"contrastive_alpha = {self.contrastive_alpha} with {form.kind}: where no token that the model expects "
                "fits the form, none would be left; leave out the one or the other"
            )

    def _check_search(self) -> None:
        """Raise RequestError for what a beam search, which draws nothing, cannot take into account."""
        given = next((name for name in DRAWING if getattr(self, name) != _DEFAULTS[name]), None)
        if given is not None:
            raise RequestError(
                f"{given} = {getattr(self, given)} with num_beams = {self.num_beams}: a beam search draws no token, it "
                "ranks texts by the model's own probabilities; leave out the one or the other"
            )
        if self.n > self.num_beams:
            raise RequestError(
                f"n = {self.n} with num_beams = {self.num_beams}: a beam search finds as many texts as it has beams"
            )

    @functools.cached_property
    def biases(self) -> Biases:
        """`logit_bias` as arrays: each token needs them."""
        from nextword.decoding.biases import biases_of  # imports numpy, which checking parameters does not need

        return biases_of(self.logit_bias)

    @property
    def constraint(self) -> Constraint | None:
        """The form that `schema`, `regex`, `grammar` or `choice` gives the text; None if it may have any."""
        return constraint_of(schema=self.schema, regex=self.regex, grammar=self.grammar, choice=self.choice)

    @property
    def width(self) -> int:
        """Number of texts that are written side by side: beams, or completions."""
        return self.num_beams or self.n

    @property
    def is_greedy(self) -> bool:
        """True if the most probable token is always taken."""
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
    p_less: bool
    dynatemp_range: float
    dynatemp_exponent: float
    mirostat_tau: float
    mirostat_eta: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_range: int
    dry_sequence_breakers: str | Sequence[str]
    logit_bias: Mapping[int, float]
    min_tokens: int
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    schema: Mapping[str, Any] | bool | str | None
    regex: str | None
    grammar: str | None
    choice: Sequence[str] | None
    guidance_scale: float
    contrastive_alpha: float
    amateur_temperature: float
    num_beams: int
    length_penalty: float
    early_stopping: bool | EarlyStopping
    n: int
    seed: int | None
    logprobs: int | None
    processed_logprobs: bool
    echo: bool
    order: ProcessorOrder


def sampling_params(generation_defaults: Mapping[str, object], **overrides: object) -> SamplingParams:
    """Return the parameters of one call: the call's value, else the checkpoint's, else the built-in default.

    `generation_defaults` is the content of the checkpoint's generation_config.json ({} if it has none). `do_sample:
    false` there means temperature 0; a file without `do_sample` leaves it open. Keys that are not about sampling
    are ignored, since the file belongs to transformers; its implicit top-k of 50 is not taken over. Values beyond our
    ranges mean what they do there, or are named in a warning: see `checkpoint_params`. What the file sets about drawing
    tokens gives way to a call's beam search. An override of None means "not
    given", except where None is a value of its own (max_tokens, seed, logprobs).

    Raises RequestError for an unknown or invalid override.
    """
    for name in overrides:
        if name not in _DEFAULTS:
            raise RequestError(f"unknown sampling parameter {name!r}: {_nearest_name(name)}")
    given = {name: value for name, value in overrides.items() if value is not None or name in _NONE_IS_A_VALUE}
    found = checkpoint_params(generation_defaults, _CHECKS, overridden=frozenset(given))
    return SamplingParams(**{**_fitting(found, given), **given})  # type: ignore[arg-type]


def checked(field_name: str, value: object) -> Any:
    """Return `value` as a plain one if the field of that name may have it; else raise RequestError."""
    return _CHECKS[field_name](field_name, value)


_NONE_IS_A_VALUE = ("max_tokens", "seed", "logprobs")
DRAWING = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma"),
    *("xtc_probability", "p_less", "dynatemp_range", "mirostat_tau"),
)
"""Parameters that say how a token is drawn, which a beam search does not do."""


def _fitting(found: dict[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """Return the checkpoint's parameters without those that contradict the call's.

    These are a limit of tokens that crosses the call's other one, and how tokens are drawn where the call searches.
    """
    if checked("num_beams", given.get("num_beams", 0)):
        found = {name: value for name, value in found.items() if name not in DRAWING}
    params = {**found, **given}
    least, most = params.get("min_tokens"), params.get("max_tokens", _DEFAULTS["max_tokens"])
    if isinstance(least, int) and isinstance(most, int) and least > most:
        return {name: value for name, value in found.items() if name not in ("min_tokens", "max_tokens")}
    return found


def _nearest_name(name: str) -> str:
    import difflib  # for a message alone

    near = difflib.get_close_matches(name.replace("-", "_").lower(), _DEFAULTS, n=1, cutoff=0.0)
    return f"did you mean {near[0]!r}?"


_DEFAULTS: Mapping[str, object] = {
    field.name: field.default if field.default is not dataclasses.MISSING else {}
    for field in dataclasses.fields(SamplingParams)
}

_CHECKS: Mapping[str, Check] = {field.name: field.metadata[_CHECK] for field in dataclasses.fields(SamplingParams)}
