"""`ModelDirectory`: an opened model on disk, with its config, weights, tokenizer and defaults.

It is the same for every format. Weights are memory-mapped, not read; the tokenizer is built on first use.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor

if TYPE_CHECKING:  # imported when it is built, which may be beside the packing of weights
    from nextword.text.tokenizer import Tokenizer

Format = Literal["hf", "gguf"]


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Look for no garbage inside: the many objects of a model all stay, and would set off dozens of searches."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True, kw_only=True)
class ModelDirectory:
    """An opened model on disk, its headers checked."""

    path: Path
    format: Format
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    """Weights by their names in `weights.weight_shapes`, in its order."""
    load_tokenizer: Callable[[], Tokenizer] = field(repr=False)
    """Function that builds the tokenizer; `tokenizer` calls it once."""
    generation_defaults: Mapping[str, object]
    """Raw content of generation_config.json; {} without such a file."""
    chat_defaults: Mapping[str, object] = field(default_factory=dict)
    """Settings that the publisher recommends for chat, by the keys of generation_config.json; {} if none are known."""
    license: str | None
    """Licence identifier as the publisher wrote it; None if the files do not say."""
    size_bytes: int
    """Size of the files with the weights."""
    num_virtual_tokens: int = 0
    """Number of ids at the end of the vocabulary that stand for a trained prompt, which precedes every sequence."""

    @property
    def num_parameters(self) -> int:
        """Number of parameters; tied weights count once."""
        return sum(tensor.num_elements for tensor in self.tensors.values())

    @property
    def weights_dtype(self) -> str:
        """Type of most weights of the first layer; embeddings are often stored in another one."""
        counts: Counter[str] = Counter()
        for name, tensor in self.tensors.items():
            if name.startswith("layers.0."):
                counts[tensor.dtype] += tensor.num_elements
        return counts.most_common(1)[0][0]

    adapter: Path | None = None
    """Folder of the adapter that is merged into the weights; None: they are as on disk."""

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the model. Raises TokenizerError or CheckpointError if its files are missing or damaged."""
        with without_collections():
            tokenizer = self.load_tokenizer()
        # Drop the builder: a file's lists of tokens and merges, which it holds, are larger than the tokenizer.
        object.__setattr__(self, "load_tokenizer", lambda: tokenizer)
        return tokenizer
