"""`FinetuneRecipe`: data and settings of fine-tuning. Needs no PyTorch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nextword.checks import checked_fields
from nextword.errors import ConfigError
from nextword.training.recipe import OptimizerRecipe, Recipe

_DEFAULT_RUN = Recipe(steps=100, optimization=OptimizerRecipe(lr=2e-5, weight_decay=0.0))
"""Defaults of fine-tuning, with a learning rate low enough to avoid catastrophic forgetting."""
_DEFAULT_CONTEXT = 512


@checked_fields
@dataclass(frozen=True, kw_only=True)
class FinetuneData:
    """Data of fine-tuning, and their batching."""

    on: Literal["chats", "text"] = "chats"
    """chats: loss on what the assistant says; text: on every token, as in pretraining."""
    context: int | None = None
    """Tokens in a row; longer chats are left out and counted. None: 512, or the model's context if that is shorter."""
    batch_size: int = 4
    """Rows in a batch; a row holds as many documents as fit, without attention between them."""
    validation: float = 0.05
    """Share of the data that is held out."""
    field: str = "text"
    """With text: field of a record that holds its text."""
    user: str | None = None
    """For records of another form than chats: the user's message, with fields in braces: "Summarise: {dialogue}"."""
    answer: str | None = None
    """For records of another form than chats: field that holds the answer."""
    chat_template: str | None = None
    """Template of chats in the place of the model's own: chatml, or a file. It is saved with the model."""
    skip_bad: bool = False
    """Leave out and count records that cannot be read or shown, instead of ending with an error."""

    def __post_init__(self) -> None:
        context = 1 if self.context is None else self.context
        if min(context, self.batch_size) < 1:
            raise ConfigError(f"context {context} and batch_size {self.batch_size} must be at least 1")

    def row_length(self, max_seq_len: int) -> int:
        """Return the context, by default 512 or that of the model. Raises ConfigError if the model's is shorter."""
        if self.context is None:
            return min(_DEFAULT_CONTEXT, max_seq_len)
        if self.context > max_seq_len:
            raise ConfigError(f"context = {self.context}: the model attends to at most {max_seq_len} tokens")
        return self.context


@checked_fields
@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """All settings of fine-tuning but the model and the files."""

    data: FinetuneData = FinetuneData()
    """Data and batches."""
    run: Recipe = _DEFAULT_RUN
    """Settings of training."""


DEFAULT_FINETUNE_RECIPE = FinetuneRecipe()
