"""`PretrainRecipe`: size, data and settings of a model trained from random weights.

The defaults make a corpus of a megabyte a model in minutes on two cores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nextword.checks import checked_fields
from nextword.errors import ConfigError
from nextword.training.recipe import CheckpointRecipe, Recipe

if TYPE_CHECKING:
    from nextword.models.config import ModelConfig

_ROPE_THETA = 10_000.0
"""Base of RoPE in Llama and Llama 2, for contexts of a few thousand tokens."""
_ROUND = 32
"""Divisor of the MLP's width, as the GGUF formats need it."""


@checked_fields
@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Size of a new model of the Llama family, which every engine reads."""

    hidden_size: int = 192
    """Width of the hidden states."""
    num_layers: int = 6
    """Transformer layers."""
    num_heads: int = 6
    """Attention heads."""
    num_kv_heads: int | None = None
    """Key-value heads, each shared by a group of attention heads; None: one for each attention head."""
    intermediate_size: int | None = None
    """Width of the MLP; None: 8/3 of the hidden size."""

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.hidden_size % self.num_heads or self.hidden_size // self.num_heads % 2:
            raise ConfigError(
                f"hidden_size = {self.hidden_size} must be an even multiple of num_heads = {self.num_heads}"
            )

    def config(self, *, vocab_size: int, context: int) -> ModelConfig:
        """Make the config of such a model. Raises ConfigError for sizes that no model can have."""
        from nextword.models.config import ModelConfig  # importing numpy would slow down --help
        from nextword.models.rope import Rope

        head_dim = self.hidden_size // self.num_heads
        wide = math.ceil(self.hidden_size * 8 / 3 / _ROUND) * _ROUND
        return ModelConfig(
            family="llama",
            vocab_size=vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=wide if self.intermediate_size is None else self.intermediate_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            num_kv_heads=self.num_heads if self.num_kv_heads is None else self.num_kv_heads,
            head_dim=head_dim,
            max_seq_len=context,
            norm_eps=1e-5,
            rope=Rope(theta=_ROPE_THETA, rotary_dim=head_dim),
            attention_scale=head_dim**-0.5,
            is_tied=True,
        )


@checked_fields
@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Data of pretraining, and their batching."""

    context: int = 256
    """Tokens in a row, and the context length of the model."""
    batch_size: int = 16
    """Rows in a batch."""
    tokenizer: str | None = None
    """Model, or folder with a tokenizer, whose tokenizer to use; None: one is trained on the corpus."""
    tokenizer_kind: Literal["bpe", "characters"] = "bpe"
    """Kind of a trained tokenizer: byte-level BPE, or a token for each character, for teaching."""
    vocab_size: int = 1024
    """Most tokens of a trained tokenizer."""
    validation: float = 0.05
    """Share of the corpus that is held out."""
    field: str = "text"
    """Field of a record that holds its text."""
    skip_bad: bool = False
    """Leave out and count records that cannot be read, instead of ending with an error."""

    def __post_init__(self) -> None:
        if min(self.context, self.batch_size) < 1:
            raise ConfigError(f"context {self.context} and batch_size {self.batch_size} must be at least 1")


_DEFAULT_RUN = Recipe(steps=400, checkpointing=CheckpointRecipe(sample_every=100))
"""Sample texts show a new model learning to generate; a fine-tuned one already can."""


@checked_fields
@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """All settings of pretraining but the files."""

    model: ModelShape = ModelShape()
    """Sizes of the model."""
    data: DataRecipe = DataRecipe()
    """Data, batches and tokenizer."""
    run: Recipe = _DEFAULT_RUN
    """Settings of training."""


DEFAULT_PRETRAIN_RECIPE = PretrainRecipe()
