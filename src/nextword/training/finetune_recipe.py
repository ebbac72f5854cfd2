"""`FinetuneRecipe`: what a model is fine-tuned on, and how it is trained. Needs no PyTorch, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nextword.errors import ConfigError
from nextword.training.recipe import OptimizerRecipe, Recipe

_DEFAULT_RUN = Recipe(steps=100, optimization=OptimizerRecipe(lr=2e-5, weight_decay=0.0))
"""A learning rate at which a pretrained model keeps what it knows."""
_DEFAULT_CONTEXT = 512


@dataclass(frozen=True, kw_only=True)
class FinetuneData:
    """What a model is fine-tuned on."""

    on: Literal["chats", "text"] = "chats"
    """chats: loss on what the assistant says; text: on every token, as in pretraining."""
    context: int | None = None
    """Tokens in a row; longer chats are left out and counted. None: 512, or the model's context if that is shorter."""
    batch_size: int = 4
    """Rows in a batch; a row holds as many documents as fit, which do not see each other."""
    validation: float = 0.05
    """Share of the data that is held out."""
    field: str = "text"
    """For text: the field that holds the text of a record."""
    user: str | None = None
    """For chats in records of another form: what the user says, fields in braces, as in "Summarise: {dialogue}"."""
    answer: str | None = None
    """For chats in records of another form: the field that holds the answer."""

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


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """All settings of fine-tuning but the model and the files."""

    data: FinetuneData = FinetuneData()
    run: Recipe = _DEFAULT_RUN


DEFAULT_FINETUNE_RECIPE = FinetuneRecipe()
