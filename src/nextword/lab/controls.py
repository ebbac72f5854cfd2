"""`controls` and `PRESETS`: the sampling parameters as the page offers them, with ranges, defaults and a sentence each.

Names, types and checks are those of `SamplingParams`; the ranges are those in which a slider is useful, and the server
takes every value that `SamplingParams` takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from nextword.decoding.params import SamplingParams
from nextword.decoding.processors import STEPS


@dataclasses.dataclass(frozen=True)
class _Control:
    """A slider or a switch."""

    low: float
    high: float
    help: str
    formula: str | None = None


_CONTROLS: Mapping[str, _Control] = {
    "temperature": _Control(
        0, 2, "Below 1 likely tokens become likelier still; 0 always takes the likeliest.", "p ∝ exp(u / T)"
    ),
    "top_k": _Control(0, 200, "Only the k most probable tokens may be drawn."),
    "top_p": _Control(
        0.01, 1, "Only the smallest set of most probable tokens that holds this mass may be drawn.", "Σ p ≥ top_p"
    ),
    "min_p": _Control(0, 1, "Only tokens this many times as probable as the first may be drawn.", "p ≥ min_p · p₁"),
    "typical_p": _Control(
        0.01, 1, "Only tokens may be drawn whose surprisal is near the entropy, up to this mass.", "|−ln p − H| small"
    ),
    "epsilon_cutoff": _Control(0, 0.1, "Tokens less probable than this are removed.", "p ≥ ε"),
    "eta_cutoff": _Control(
        0, 0.1, "As epsilon, but less is removed where the model is unsure.", "p ≥ min(η, √η · exp(−H))"
    ),
    "top_n_sigma": _Control(
        0, 5, "Only tokens may be drawn whose logit is this near to the largest.", "u ≥ u₁ − n · σ"
    ),
    "p_less": _Control(0, 1, "Only tokens at least as probable as two draws are to be equal stay.", "p ≥ Σ p²"),
    "xtc_probability": _Control(0, 1, "How often the top choices are left out, so that a rarer word is drawn."),
    "xtc_threshold": _Control(0, 0.5, "Of tokens at least this probable, XTC keeps only the least probable."),
    "dynatemp_range": _Control(0, 2, "The temperature moves by this much: lower where the model is sure."),
    "dynatemp_exponent": _Control(0.1, 5, "How the entropy moves the temperature through its range."),
    "repetition_penalty": _Control(0.8, 2, "Tokens that were there already become less likely, by a factor.", "u / θ"),
    "presence_penalty": _Control(-2, 2, "Subtracted once from the logit of each generated token.", "u − α"),
    "frequency_penalty": _Control(-2, 2, "Subtracted for each time that a token was generated.", "u − α · count"),
    "no_repeat_ngram_size": _Control(0, 10, "No run of this many tokens may come twice."),
    "dry_multiplier": _Control(0, 5, "Tokens that would prolong a repetition become less likely, the longer it is."),
    "min_tokens": _Control(0, 200, "So many tokens come before the text may end."),
}
"""Controls by the names of their parameters, in the order of the page."""
_NO_STEP = "penalties"

PRESETS: tuple[Mapping[str, Any], ...] = (
    {"name": "greedy", "params": {"temperature": 0}, "help": "Always the most probable token: no draw at all."},
    {"name": "random", "params": {"temperature": 1}, "help": "Draw from the model's own distribution, as it is."},
    {"name": "cooler", "params": {"temperature": 0.7}, "help": "Likely tokens become likelier: T = 0.7."},
    {"name": "top-k", "params": {"top_k": 40}, "help": "Draw among the 40 most probable tokens, always 40."},
    {"name": "top-p", "params": {"top_p": 0.9}, "help": "Draw from the nucleus: as many tokens as hold 90 %."},
    {"name": "min-p", "params": {"min_p": 0.1}, "help": "Draw among tokens a tenth as probable as the first."},
)
"""Settings with names; parameters that one does not give are off."""


def controls(defaults: SamplingParams) -> list[dict[str, Any]]:
    """Return the description of each control; `defaults`: what holds where a request says nothing."""
    hints, off = get_type_hints(SamplingParams), SamplingParams()
    return [
        {
            "name": name,
            "kind": hints[name].__name__,
            "default": getattr(defaults, name),
            "minimum": control.low,
            "maximum": control.high,
            "off": getattr(off, name),
            "help": control.help,
            "formula": control.formula,
            "step_name": _step_name(name),
        }
        for name, control in _CONTROLS.items()
    ]


def _step_name(name: str) -> str:
    """Return the step of the chain that a parameter belongs to."""
    owners = {"xtc_probability": "xtc_threshold", "dynatemp_exponent": "dynatemp_range"}
    return owners.get(name, name if name in STEPS else _NO_STEP)
