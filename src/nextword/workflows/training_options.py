"""The keywords of `pretrain`, `finetune` and `prepare`, for editors and type checkers: their settings, flat.

What each means stands beside the field of its name in `nextword.training.recipe`, `pretrain_recipe`,
`finetune_recipe` and `nextword.data.selection`; a test holds that names and types are the same. Defaults are theirs.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from nextword.data.selection import Deduplicate
from nextword.training.recipe import OptimizerName, ParallelName, Precision, ScheduleName


class TrainingOptions(TypedDict, total=False):
    """Keywords of both, the fields of `Recipe`."""

    steps: int
    seed: int
    optimizer: OptimizerName
    lr: float
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    momentum: float
    max_grad_norm: float
    schedule: ScheduleName
    warmup: float
    decay: float
    final_lr: float
    precision: Precision
    accumulation: int
    z_loss: float
    gradient_checkpointing: bool
    ema: float
    freeze: tuple[str, ...]
    threads: int | None
    parallel: ParallelName
    save_every: int
    validate_every: int
    sample_every: int
    patience: int
    max_skipped: int


class PretrainOptions(TrainingOptions, total=False):
    """Keywords of `pretrain`, the fields of `PretrainRecipe`."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int | None
    intermediate_size: int | None
    context: int
    batch_size: int
    tokenizer: str | None
    tokenizer_kind: Literal["bpe", "characters"]
    vocab_size: int
    validation: float
    field: str
    skip_bad: bool


class FinetuneOptions(TrainingOptions, total=False):
    """Keywords of `finetune`, the fields of `FinetuneRecipe`."""

    on: Literal["chats", "text"]
    context: int | None
    batch_size: int
    validation: float
    field: str
    user: str | None
    answer: str | None
    chat_template: str | None
    skip_bad: bool


class SelectionKeywords(TypedDict, total=False):
    """Keywords of `prepare`, the fields of `SelectionOptions`."""

    min_characters: int
    max_characters: int | None
    min_letters: float
    deduplicate: Deduplicate
