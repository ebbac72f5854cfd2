"""`checkpoint_params`: the sampling parameters that a generation_config.json sets, in our ranges.

The file belongs to transformers, and its values mean what they mean there. What transformers switches off by a value
outside of our range is off here too; a value that it refuses, and a setting that is not computed here, is named in one
warning and has no effect.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping

from nextword.decoding.param_checks import Check
from nextword.errors import RequestError

FIELDS = {
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
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
}
"""Key of generation_config.json -> our field."""
NOT_COMPUTED: Mapping[str, tuple[object, ...]] = {
    **dict.fromkeys(("num_beam_groups", "encoder_repetition_penalty"), (1,)),
    **dict.fromkeys(("min_length", "penalty_alpha", "diversity_penalty", "encoder_no_repeat_ngram_size"), (0,)),
    **dict.fromkeys(("bad_words_ids", "force_words_ids", "constraints", "sequence_bias", "stop_strings"), ([], {})),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty"), ([],)),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "top_h", "dola_layers", "watermarking_config"), ()),
    "token_healing": (False,),
}
"""Keys of what changes texts in transformers and has no counterpart here, with the values that change nothing."""

LEFT_TO_CALLS: Mapping[str, tuple[object, ...]] = {"num_beams": (0, 1), "guidance_scale": (1,)}
"""Keys of strategies that a call has to ask for, since they take several times as long, with their neutral values."""


def checkpoint_params(
    generation_defaults: Mapping[str, object], checks: Mapping[str, Check], *, overridden: frozenset[str]
) -> dict[str, object]:
    """Return our fields with the values that the file sets, but for those that a call overrides.

    `checks`: the check of each field. Warns once, naming all values that can have no effect.
    """
    found: dict[str, object] = {}
    refused = []
    for key, field in FIELDS.items():
        value = generation_defaults.get(key)
        if value is None or field in overridden:
            continue
        try:
            found[field] = checks[field](key, _translated(key, value))
        except RequestError as error:
            refused.append(str(error))
    greedy = _sampling(generation_defaults, refused) is False
    if greedy and "temperature" not in overridden:
        found["temperature"] = 0.0
    for keys, reason in ((NOT_COMPUTED, "is not implemented"), (LEFT_TO_CALLS, "is for a call to ask for")):
        refused += [
            f"{key} = {value!r:.40} {reason}"
            for key, neutral in keys.items()
            if (value := generation_defaults.get(key)) is not None and value not in neutral
        ]
    if refused:
        warnings.warn(f"generation_config.json: {'; '.join(refused)}; not used", stacklevel=2)
    return found


def _sampling(generation_defaults: Mapping[str, object], refused: list[str]) -> object:
    """Return do_sample; None, with a reason in `refused`, for what is neither true nor false."""
    choice = generation_defaults.get("do_sample")
    if choice is None or isinstance(choice, bool):
        return choice
    refused.append(f"do_sample = {choice!r:.40}: must be true or false")
    return None


def _translated(key: str, value: object) -> object:
    """Return a number as our field of that key has it; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if key in _WHOLE and value == value // 1:
        value = int(value)  # such as 50.0, which JSON writers make of 50
    return _MEANINGS[key](value) if key in _MEANINGS else value


_WHOLE = ("top_k", "no_repeat_ngram_size", "min_new_tokens", "max_new_tokens")
_MEANINGS: Mapping[str, Callable[[float], object]] = {
    "top_k": lambda value: max(value, 0),  # -1 is off, as in vLLM and llama.cpp
    "no_repeat_ngram_size": lambda value: max(value, 0),
    "min_new_tokens": lambda value: max(value, 0),
    "top_p": lambda value: min(value or sys.float_info.min, 1.0),  # 0 keeps the most probable token alone
    "typical_p": lambda value: min(value, 1.0),
    "epsilon_cutoff": lambda value: value if 0 < value < 1 else 0.0,
    "eta_cutoff": lambda value: value if 0 < value < 1 else 0.0,
}
"""Values that transformers computes with, by key, where a file has one beyond our range."""
