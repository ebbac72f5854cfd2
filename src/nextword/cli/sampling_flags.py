"""The sampling parameters that a command line gives explicitly: they override those of the model's files.

Flags, types, help and defaults are those of `SamplingParams`. A flag with the built-in default as its value counts as
given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from nextword.cli.arguments import read_text
from nextword.cli.forms import Given
from nextword.decoding.params import SamplingOptions, SamplingParams, sampling_params


def check_sampling_flags(given: Mapping[str, object]) -> None:
    """Raise RequestError for a value that is invalid for every model; to be called before a model is loaded."""
    sampling_params({}, **{"max_tokens": None, **given})  # without a limit that the model's files can change


def unescaped(text: str) -> str:
    r"""Replace \n, \t, \r, \\ and \uXXXX by the characters that they stand for; other backslashes stay."""
    return _ESCAPE.sub(lambda found: _MEANT.get(found[1]) or chr(int(found[1][1:], 16)), text)


_ESCAPE = re.compile(r"\\(n|t|r|\\|u[0-9a-fA-F]{4})")
_MEANT = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_TITLES = {
    "length and stopping": ("max_tokens", "min_tokens", "stop", "stop_token_ids"),
    "form of the text": ("schema", "regex", "grammar", "choice"),
    "sampling": (
        *("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma"),
        *("xtc_probability", "xtc_threshold", "p_less", "dynatemp_range", "dynatemp_exponent"),
        *("mirostat_tau", "mirostat_eta", "order", "seed"),
    ),
    "penalty": (
        *("repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram_size", "dry_multiplier"),
        *("dry_base", "dry_allowed_length", "dry_range", "dry_sequence_breakers", "logit_bias"),
    ),
    "guide": ("guidance_scale", "contrastive_alpha", "amateur_temperature"),
    "search": ("num_beams", "length_penalty", "early_stopping"),
    "output": ("n", "echo", "logprobs", "processed_logprobs"),
}
"""Groups of the help, and their fields."""

if TYPE_CHECKING:
    SamplingFlags = SamplingOptions
else:
    SamplingFlags = Annotated[
        SamplingOptions,
        Given(
            SamplingParams,
            titles={name: title for title, names in _TITLES.items() for name in names},
            aliases={"n": "-n"},
            readers={"stop": unescaped, "schema": read_text, "grammar": read_text},
            helps={"stop": r" \n, \t, \r and \u2028 stand for characters, \\ for a backslash."},
            metavars={"schema": "FILE", "grammar": "FILE"},
        ),
    ]
"""Field of a verb's options: name -> value of the sampling parameters that were given."""


def no_sampling_flags() -> SamplingOptions:
    """Return the default of such a field."""
    return {}
