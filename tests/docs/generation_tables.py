"""Table of docs/checkpoints.md about generation_config.json, from the tables that decide and from what they make."""

from __future__ import annotations

import warnings

from nextword.decoding.checkpoint_params import FIELDS, LEFT_TO_CALLS, NOT_COMPUTED
from nextword.decoding.params import SamplingParams, sampling_params
from tests.docs.table import names, table

_PROBES: tuple[float, ...] = (-1, 0, 1, 1.5, 2, 50.0)
"""Values of which some lie beyond our ranges, for each field."""


def generation_config() -> str:
    """Treatment of each key."""
    rows = [(f"`{key}`", f"`{field}`", _translated(key, field)) for key, field in FIELDS.items()]
    rows.append(("`do_sample`", "`temperature`", "`false` → `0`"))
    rows.append(("`eos_token_id`", "tokens that end a text", ""))
    rows.append((names(LEFT_TO_CALLS), "none: named in a warning; a call asks for it", ""))
    rows.append((names(NOT_COMPUTED), "none: named in a warning if it would change the text", ""))
    rows.append(("any other", "none: ignored", ""))
    return table(("key", "our parameter", "values beyond our range that mean something"), rows)


def _translated(key: str, field: str) -> str:
    found = []
    for value in _PROBES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            params: SamplingParams = sampling_params({key: value})
        ours = getattr(params, field)
        if not caught and (ours != value or type(ours) is int is not type(value)):
            found.append(f"`{value}` → `{ours:.3g}`")
    return ", ".join(found)
