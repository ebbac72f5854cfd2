"""Tables of docs/checkpoints.md about config.json: what the reader of each family asks for, recorded while it reads."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping

from nextword.checkpoints.huggingface import config_of
from nextword.errors import NextwordError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES, Family
from nextword.models.families.shared import ACTIVATIONS
from tests.docs.recording import RecordingFields, Seen
from tests.docs.table import names, table, values

SIZES: dict[str, object] = {
    "vocab_size": 100,
    **dict.fromkeys(("hidden_size", "n_embd", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim"), 128),
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 6),
    **dict.fromkeys(("num_attention_heads", "n_head"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    "rms_norm_eps": 1e-6,
    "rotary_dim": 8,
}
"""Settings that families have no default for, under each name that one has for them."""
OWN: Mapping[str, dict[str, object]] = {
    "granitemoehybrid": {"num_local_experts": 0, "layer_types": ["attention"] * 6, "position_embedding_type": "rope"}
}
_ROPE = "rope_scaling"
SCALINGS: Mapping[str, dict[str, object]] = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"factor": 2.0, "original_max_position_embeddings": 64},
    "longrope": {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
}
"""Rotary settings of each kind."""


def config_json() -> str:
    """One row for the fields that most families have, and one for what families have besides."""
    seen = {name: _seen(family) for name, family in FAMILIES.items()}
    counts = Counter(name for one in seen.values() for name in one.read | one.only.keys())
    common = {name for name, count in counts.items() if count > 0.8 * len(FAMILIES)}
    usual = {name: seen["llama"].only[name] for name in common & seen["llama"].only.keys()}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for family, one in seen.items():
        held = {name: choices for name, choices in one.only.items() if usual.get(name) != choices}
        read = (one.read - common) | (one.read & usual.keys() - one.only.keys())
        missing = common - one.read - one.only.keys()
        is_short = len(missing) < len(common) / 2
        row = (
            names(read - held.keys()),
            _held(held),
            names(missing) if is_short else f"all but {names(common - missing)}",
        )
        groups.setdefault(row, []).append(f"`{family}`")
    rows = [("most", names(common - usual.keys()), _held(usual), "")]
    rows += [(", ".join(families), *row) for row, families in groups.items()]
    return table(("family", "read", "only these values", "not read of the first row"), rows)


def rope() -> str:
    """Fields of `rope_scaling` or `rope_parameters`, by kind."""
    rows = []
    for kind, settings in SCALINGS.items():
        seen = Seen()
        _read(FAMILIES["llama"], {**SIZES, _ROPE: {"rope_type": kind, **settings}}, seen)
        fields = {name.removeprefix(f"{_ROPE}.") for name in seen.read if name.startswith(f"{_ROPE}.")}
        rows.append((f"`{kind}`", names(fields - {"rope_type", "type"})))
    return table(("`rope_type`, or `type`", "read beside it"), rows)


def _held(fields: Mapping[str, tuple[object, ...]]) -> str:
    """Fields with the values that they are held to."""
    return ", ".join(f"`{name}`: {_choices(fields[name])}" for name in sorted(fields))


def _choices(choices: tuple[object, ...]) -> str:
    if set(ACTIVATIONS) <= set(choices):
        return "an activation"
    return "the `hidden_size`" if choices == (SIZES["hidden_size"],) else values(choices)


def _seen(family: Family) -> Seen:
    """Fields that the family asks for, with each of its flags on and off, without those that change nothing."""
    content, seen = {**SIZES, **OWN.get(family.model_type, {})}, Seen()
    _read(family, content, seen)
    variants = [content, *({**content, flag: value} for flag in sorted(seen.flags) for value in (True, False))]
    variants += [{**one, "sliding_window": 16} for one in variants]
    for one in variants:
        _read(family, one, seen)
    del seen.only["model_type"]
    seen.read -= {name for name in SIZES if not any(_matters(family, one, name) for one in variants)}
    return seen


def _matters(family: Family, content: Mapping[str, object], name: str) -> bool:
    value = content[name]
    return isinstance(value, int | float) and _read(family, content) != _read(family, {**content, name: value * 2})


def _read(family: Family, content: Mapping[str, object], seen: Seen | None = None) -> ModelConfig | str:
    """The config, or the message of a refusal, which has asked for fields, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            content = {**content, "model_type": family.model_type}
            return config_of(RecordingFields(content, "config.json", seen=Seen() if seen is None else seen))[1]
        except NextwordError as error:
            return str(error)
