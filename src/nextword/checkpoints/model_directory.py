"""`ModelDirectory`: a model on disk, opened: its config, its weights by our names, its tokenizer, its defaults.

The same for every format. Weights are mapped, not read; the tokenizer is built when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor
from nextword.text.tokenizer import Tokenizer

Format = Literal["hf", "gguf"]


@dataclass(frozen=True, kw_only=True)
class ModelDirectory:
    """A model on disk, its headers checked."""

    path: Path
    format: Format
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    """By our names, in the order of `weights.weight_shapes`."""
    load_tokenizer: Callable[[], Tokenizer] = field(repr=False)
    """Builds the tokenizer; use `tokenizer`, which does so once."""
    generation_defaults: Mapping[str, object]
    """The raw content of generation_config.json, {} where there is none."""
    chat_defaults: Mapping[str, object] = field(default_factory=dict)
    """Settings that the publisher recommends for chat, by the keys of generation_config.json; {} if none are known."""
    license: str | None
    """Identifier as the publisher wrote it; None if the files do not say."""
    size_bytes: int
    """Of the files with the weights."""
    num_virtual_tokens: int = 0
    """The last tokens of the vocabulary that are no words but a trained prompt, which stands before every text."""

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises TokenizerError or CheckpointError if its files are missing or damaged."""
        tokenizer = self.load_tokenizer()
        # What it was made of, such as a file's lists of tokens and merges, is larger than itself, and may go.
        object.__setattr__(self, "load_tokenizer", lambda: tokenizer)
        return tokenizer
