"""Settings for sampling that a publisher recommends, as generation_config.json and as GGUF have them.

llama.cpp's converter writes them under general.sampling; its programs use them where a call does not say.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from nextword.checkpoints.gguf.metadata import GGUFMetadata

_PREFIX = "general.sampling."
_KEYS = {
    "temperature": ("temp", float),
    "top_k": ("top_k", int),
    "top_p": ("top_p", float),
    "min_p": ("min_p", float),
    "repetition_penalty": ("penalty_repeat", float),
}
"""Field of generation_config.json -> key in GGUF and its type."""
_NEUTRAL = {
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": 0,
    "max_new_tokens": None,
}
"""Fields that GGUF has no key for, with the values that change nothing."""


def read_sampling(metadata: GGUFMetadata) -> dict[str, object]:
    """Return the settings by the names of generation_config.json; warn of those that it cannot name."""
    found = {}
    for field, (name, kind) in _KEYS.items():
        if metadata.has(_PREFIX + name):
            found[field] = kind(metadata.number(_PREFIX + name))
    others = [key for key in metadata.unread(_PREFIX) if key != f"{_PREFIX}penalty_last_n"]
    if others:
        warnings.warn(f"{metadata.path}: {', '.join(others)}: not applied; give them with each call", stacklevel=4)
    return found


def sampling_metadata(defaults: Mapping[str, object], path: Path) -> dict[str, object]:
    """Return the metadata for the content of generation_config.json; warn of what GGUF has no key for."""
    metadata: dict[str, object] = {}
    lost = []
    for field, value in defaults.items():
        if field in _KEYS and isinstance(value, int | float):
            name, kind = _KEYS[field]
            metadata[_PREFIX + name] = kind(value)
        elif field in _NEUTRAL and value not in (None, _NEUTRAL[field]):
            lost.append(field)
    if defaults.get("do_sample") is False:
        metadata[f"{_PREFIX}temp"] = 0.0
    if metadata.get(f"{_PREFIX}penalty_repeat", 1.0) != 1.0:
        metadata[f"{_PREFIX}penalty_last_n"] = -1  # all tokens, not the last 64
    if lost:
        warnings.warn(f"{path}: GGUF has no key for {', '.join(lost)} of generation_config.json", stacklevel=4)
    return metadata
