"""Fine-tuning: data and trainer for a pretrained model, on text as in pretraining or on the answers of chats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nextword.adapters.attach import attach
from nextword.adapters.attach_prompt import attach_prompt
from nextword.adapters.spec import AdapterSpec, PromptSpec
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.data.batch import IGNORED, BatchSource
from nextword.data.chats import ChatFields, read_chats
from nextword.data.files import TEXT, file_kind
from nextword.data.prepare import prepare_corpus, prepared_folder
from nextword.data.pretraining import PretrainingSource
from nextword.data.records import BadRecords
from nextword.data.shards import TokenShards
from nextword.data.supervised import Example, ExamplesReport, SupervisedSource, encode_chats, split_examples
from nextword.data.token_view import split_validation
from nextword.errors import ConfigError, DataError
from nextword.models.build import build_transformer
from nextword.text.tokenizer import Tokenizer
from nextword.training.callbacks import Callbacks
from nextword.training.finetune_recipe import FinetuneData, FinetuneRecipe
from nextword.training.processes import ALONE, Processes
from nextword.training.trainer import Trainer

_SAMPLE_PROMPT = 32
"""Maximum number of tokens of a held-out text used as the prompt of a sample; half of a shorter context."""


@dataclass(frozen=True, kw_only=True)
class FinetuningData:
    """Batches to train on, and held-out data."""

    source: BatchSource
    held_out_texts: Sequence[Sequence[int]] = ()
    """Token ids of whole held-out texts."""
    held_out_chats: Sequence[Example] = ()
    sample_prompt: Sequence[int]
    """Prompt of the samples, as token ids: a text's beginning, or a chat up to the first answer."""
    report: ExamplesReport | None = None
    """Numbers of chats read, kept and left out; None for text."""
    bad: BadRecords
    """Number of records that could not be read or shown, and were left out."""


def prepare_finetuning(
    files: Sequence[str],
    directory: ModelDirectory,
    recipe: FinetuneRecipe,
    *,
    folder: Path,
    adapter: AdapterSpec | PromptSpec | None = None,
    processes: Processes = ALONE,
) -> FinetuningData:
    """Read the files with the model's own tokenizer and chat template.

    Raises DataError, ConfigError, TokenizerError.
    """
    data = recipe.data
    num_virtual = adapter.num_virtual_tokens if isinstance(adapter, PromptSpec) else 0
    if data.on == "chats":
        return _prepare_chats(files, directory, recipe, num_virtual, processes)
    if num_virtual:
        raise ConfigError("a prompt stands before whole texts, but --on text trains on pieces: use --on chats")
    return _prepare_text(files, directory, recipe, folder, processes)


def _prepare_text(
    files: Sequence[str], directory: ModelDirectory, recipe: FinetuneRecipe, folder: Path, processes: Processes
) -> FinetuningData:
    data, tokens, bad = recipe.data, prepared_folder(files), BadRecords(skip=recipe.data.skip_bad)
    seq_len = data.row_length(directory.config.max_seq_len)
    if tokens is None:
        tokens = folder / "tokens"
        processes.on_rank_zero(
            lambda: prepare_corpus(files, directory.tokenizer, tokens, field=data.field, on_bad=bad.on_bad)
        )
        shards = TokenShards(tokens)
    else:
        shards = TokenShards(tokens)
        if shards.header.tokenizer != directory.tokenizer.fingerprint:
            raise DataError(
                f"{tokens}: holds tokens of another tokenizer than the model's: prepare the corpus with that one"
            )
        processes.on_rank_zero(shards.check_content)
    training, held_out = split_validation(shards, data.validation, seed=recipe.run.seed)
    documents = held_out.documents()
    prompt_length = min(_SAMPLE_PROMPT, max(1, directory.config.max_seq_len // 2))
    start = documents[0] if documents else training.window(0, prompt_length).token_ids.tolist()
    return FinetuningData(
        source=PretrainingSource(
            training,
            batch_size=processes.local_batch_size(data.batch_size),
            seq_len=seq_len,
            seed=recipe.run.seed,
            rank=processes.rank,
            num_ranks=processes.world_size,
        ),
        held_out_texts=documents,
        sample_prompt=start[:prompt_length],
        bad=bad,
    )


def _prepare_chats(
    files: Sequence[str], directory: ModelDirectory, recipe: FinetuneRecipe, num_virtual: int, processes: Processes
) -> FinetuningData:
    data, report, bad = recipe.data, ExamplesReport(), BadRecords(skip=recipe.data.skip_bad)
    seq_len = data.row_length(directory.config.max_seq_len)
    room = seq_len - num_virtual
    examples = _read_examples(files, directory.tokenizer, data, room, report, bad)
    kept, held_out = split_examples(examples, data.validation, seed=recipe.run.seed)
    first = (held_out or kept)[0]
    return FinetuningData(
        source=SupervisedSource(
            [_with_virtual_tokens(example, directory.config.vocab_size, num_virtual) for example in kept],
            batch_size=processes.local_batch_size(data.batch_size),
            seq_len=seq_len,
            seed=recipe.run.seed,
            rank=processes.rank,
            num_ranks=processes.world_size,
        ),
        held_out_chats=held_out,
        sample_prompt=first.token_ids[: int(np.argmax(first.targets != IGNORED)) + 1].tolist(),
        report=report,
        bad=bad,
    )


def _read_examples(
    files: Sequence[str],
    tokenizer: Tokenizer,
    data: FinetuneData,
    room: int,
    report: ExamplesReport,
    bad: BadRecords,
) -> list[Example]:
    """Read and encode the chats; raise DataError if there are none that fit."""
    for file in files:
        if Path(file).is_file() and file_kind(Path(file)) == TEXT:
            raise DataError(f'{file}: plain text, no chats: train on it with --on text (in Python on="text")')
    if tokenizer.chat_template is None:
        raise ConfigError(
            "the model has no chat template: choose one by --chat-template chatml, or give a file "
            '(in Python chat_template="chatml"), which is saved with the model'
        )
    chats = read_chats(files, fields=ChatFields(user=data.user, answer=data.answer), on_bad=bad.on_bad)
    examples = list(encode_chats(chats, tokenizer, seq_len=room, report=report, on_bad=bad.on_bad))
    if not examples and report.num_read:
        raise DataError(f"none of {report.num_read} chats fits into {room} tokens; the longest has {report.longest}")
    if not examples:
        reason = f"; the first that was left out: {bad.first}" if bad.first else ""
        raise DataError(f"{', '.join(files)}: no chat to train on{reason}")
    return examples


def _with_virtual_tokens(example: Example, first: int, number: int) -> Example:
    """Prepend `number` virtual tokens without loss, whose ids begin at `first`."""
    if not number:
        return example
    virtual = np.arange(first, first + number, dtype=np.int32)
    return dataclasses.replace(
        example,
        token_ids=np.concatenate([virtual, example.token_ids]),
        targets=np.concatenate([np.full(number, IGNORED, np.int32), example.targets]),
    )


def finetuning(
    directory: ModelDirectory,
    data: FinetuningData,
    recipe: FinetuneRecipe,
    *,
    folder: Path,
    callbacks: Callbacks,
    adapter: AdapterSpec | PromptSpec | None = None,
    processes: Processes = ALONE,
) -> Trainer:
    """Make a trainer of all weights of the model, or of an adapter alone. Raises as `Trainer`."""
    model = build_transformer(directory.config, directory.tensors)
    if isinstance(adapter, PromptSpec):
        attach_prompt(model, adapter, seed=recipe.run.seed)
    elif adapter is not None:
        attach(model, adapter, seed=recipe.run.seed)
    return Trainer(model, data.source, recipe.run, folder=folder, callbacks=callbacks, processes=processes)
