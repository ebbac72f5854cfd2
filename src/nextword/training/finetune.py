"""Fine-tuning: a pretrained model goes on learning, from text as in pretraining or from the answers in chats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nextword.adapters.attach import attach
from nextword.adapters.spec import AdapterSpec
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.data.batch import IGNORED, Batch, BatchSource
from nextword.data.chats import ChatFields, read_chats
from nextword.data.prepare import prepare_corpus
from nextword.data.pretraining import PretrainingSource, batches_in_order
from nextword.data.shards import TokenShards
from nextword.data.supervised import ExamplesReport, SupervisedSource, encode_chats, examples_in_order, split_examples
from nextword.data.token_view import split_validation
from nextword.errors import ConfigError, DataError
from nextword.models.build import build_transformer
from nextword.models.packing import Packing
from nextword.models.transformer import Transformer
from nextword.training.finetune_recipe import FinetuneRecipe
from nextword.training.loss import sum_of_nats
from nextword.training.processes import ALONE, Processes
from nextword.training.trainer import Callbacks, Trainer


@dataclass(frozen=True, kw_only=True)
class FinetuningData:
    """Batches to train on, and those held out."""

    source: BatchSource
    validation: Sequence[Batch]
    examples: ExamplesReport | None
    """What became of the chats; None for text."""


def prepare_finetuning(
    files: Sequence[str],
    directory: ModelDirectory,
    recipe: FinetuneRecipe,
    *,
    folder: Path,
    processes: Processes = ALONE,
) -> FinetuningData:
    """Read the files with the model's own tokenizer and chat template.

    Raises DataError, ConfigError, TokenizerError.
    """
    data, seed = recipe.data, recipe.run.seed
    batch_size, rank, num_ranks = processes.share(data.batch_size), processes.rank, processes.count
    if data.context > directory.config.max_seq_len:
        raise ConfigError(
            f"context = {data.context}: the model attends to at most {directory.config.max_seq_len} tokens"
        )
    if data.on == "text":
        tokens = folder / "tokens"
        processes.on_first(lambda: prepare_corpus(files, directory.tokenizer, tokens, field=data.field))
        training, held_out = split_validation(TokenShards(tokens), data.validation, seed=seed)
        source = PretrainingSource(
            training, batch_size=batch_size, seq_len=data.context, seed=seed, rank=rank, num_ranks=num_ranks
        )
        in_order = batches_in_order(held_out, batch_size=data.batch_size, seq_len=data.context)
        return FinetuningData(source=source, validation=list(in_order), examples=None)
    report = ExamplesReport()
    chats = read_chats(files, fields=ChatFields(prompt=data.user, completion=data.answer))
    examples = list(encode_chats(chats, directory.tokenizer, seq_len=data.context, report=report))
    if not examples:
        raise DataError(
            f"none of {report.num_read} chats fits into {data.context} tokens; the longest has {report.longest}"
        )
    kept, held = split_examples(examples, data.validation, seed=seed)
    return FinetuningData(
        source=SupervisedSource(
            kept, batch_size=batch_size, seq_len=data.context, seed=seed, rank=rank, num_ranks=num_ranks
        ),
        validation=list(examples_in_order(held, batch_size=data.batch_size, seq_len=data.context)),
        examples=report,
    )


def finetuning(
    directory: ModelDirectory,
    data: FinetuningData,
    recipe: FinetuneRecipe,
    *,
    folder: Path,
    callbacks: Callbacks,
    adapter: AdapterSpec | None = None,
    processes: Processes = ALONE,
) -> Trainer:
    """A trainer of all of the model's weights, or of an adapter of it alone. Raises as `Trainer`."""
    model = build_transformer(directory.config, directory.tensors)
    if adapter is not None:
        attach(model, adapter, seed=recipe.run.seed)
    return Trainer(model, data.source, recipe.run, folder=folder, callbacks=callbacks, processes=processes)


@torch.no_grad()
def mean_nats(batches: Iterable[Batch], model: Transformer) -> float:
    """Mean surprisal of all targets of the batches, in nats."""
    nats, num_targets = [], 0
    for batch in batches:
        hidden = model.hidden_states(
            torch.from_numpy(batch.token_ids), packing=Packing.of(batch.positions, batch.document_ids)
        )
        total, _ = sum_of_nats(
            hidden, torch.from_numpy(batch.targets), model.head, soft_cap=model.config.logit_soft_cap
        )
        nats.append(float(total))
        num_targets += int(np.count_nonzero(batch.targets != IGNORED))
    return math.fsum(nats) / num_targets
