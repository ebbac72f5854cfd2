"""`apply_class`: what some classes of transformers settle by their settings, whatever tokenizer.json says.

They put a space before texts by `add_prefix_space` alone, and the one of GPT-NeoX puts no tokens around texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from nextword.text.post_processor import put_around

_SPACED_BY_SETTING = ("CodeGenTokenizer", "CohereTokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer")
_BARE = "GPTNeoXTokenizer"


def apply_class(backend: tokenizers.Tokenizer, class_name: str, settings: Mapping[str, Any]) -> None:
    """Apply the rules of a class to the tokenizer of a tokenizer.json; `settings`: those of tokenizer_config.json."""
    if class_name in _SPACED_BY_SETTING:
        for step in _steps(backend.pre_tokenizer):
            if isinstance(step, pre_tokenizers.ByteLevel):
                step.add_prefix_space = bool(settings.get("add_prefix_space", False))
    if class_name == _BARE:
        put_around(backend)


def _steps(step: Any) -> Iterator[Any]:
    """Yield the steps of a pre-tokenizer, which share their state with it."""
    if isinstance(step, pre_tokenizers.Sequence):
        position = 0
        while True:  # it has no length
            try:
                inner = step[position]
            except IndexError:
                return
            yield from _steps(inner)
            position += 1
    else:
        yield step
