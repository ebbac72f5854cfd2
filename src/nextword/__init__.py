"""nextword: decoder-only language models on the machine you have. What is exported here is the API.

Importing this is cheap: rooms are opened when a name in them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nextword.decoding.distribution import Distribution as Distribution
    from nextword.decoding.params import SamplingParams as SamplingParams
    from nextword.errors import NextwordError as NextwordError
    from nextword.language_model import LanguageModel as LanguageModel
    from nextword.language_model import load as load

_HOMES = {
    "Distribution": "nextword.decoding.distribution",
    "LanguageModel": "nextword.language_model",
    "NextwordError": "nextword.errors",
    "SamplingParams": "nextword.decoding.params",
    "load": "nextword.language_model",
}

__version__ = "0.1.0"
__all__ = ["Distribution", "LanguageModel", "NextwordError", "SamplingParams", "load"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nextword' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
