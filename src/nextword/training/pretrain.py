"""Pretraining from files of text: tokenizer, token shards, initial weights, and the trainer over them.

Everything is written to one folder, from which the same call resumes a stopped run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.open_directory import open_tokenizer
from nextword.data.documents import read_documents
from nextword.data.prepare import TOKENIZER_FOLDER, PrepareReport, prepare_corpus, prepared_folder
from nextword.data.pretraining import PretrainingSource
from nextword.data.records import BadRecords
from nextword.data.shards import TokenShards
from nextword.data.token_view import TokenView, split_validation
from nextword.errors import ConfigError
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder
from nextword.text.train_tokenizer import train_tokenizer
from nextword.training.callbacks import Callbacks
from nextword.training.initial_weights import initial_transformer
from nextword.training.pretrain_recipe import DataRecipe, PretrainRecipe
from nextword.training.processes import ALONE, Processes
from nextword.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Files of text as tokens, with their tokenizer."""

    tokenizer: Tokenizer
    training: TokenView
    validation: TokenView
    bad: BadRecords
    """Number of records that could not be read when the tokens were written, and were left out."""


def prepare_pretraining(
    files: Sequence[str],
    recipe: PretrainRecipe,
    *,
    folder: Path,
    on_progress: Callable[[PrepareReport], None] = lambda report: None,
    processes: Processes = ALONE,
) -> Corpus:
    """Train the tokenizer (or open the one asked for) and write the tokens to `folder`/tokens, in the first process.

    Both are deterministic, so a resumed run has the same data. A folder that `prepare_corpus` wrote is used as it is.
    Raises DataError, ConfigError, CheckpointError.
    """
    tokens, bad = prepared_folder(files), BadRecords(skip=recipe.data.skip_bad)
    if tokens is None:
        tokens = folder / "tokens"
        processes.on_rank_zero(lambda: _write_tokens(files, recipe.data, tokens, bad, on_progress))
    else:
        _require_no_other(recipe.data, tokens)
        processes.on_rank_zero(TokenShards(tokens).check_content)
    tokenizer = load_tokenizer_folder(tokens / TOKENIZER_FOLDER)
    training, validation = split_validation(TokenShards(tokens), recipe.data.validation, seed=recipe.run.seed)
    return Corpus(tokenizer=tokenizer, training=training, validation=validation, bad=bad)


def likely_vocab_size(files: Sequence[str], recipe: DataRecipe) -> int:
    """Return the vocabulary size of the model that would be trained; for a tokenizer yet to be trained, its limit.

    Raises CheckpointError, TokenizerError for a tokenizer that cannot be read, DataError for incomplete tokens.
    """
    tokens = prepared_folder(files)
    if tokens is not None:
        TokenShards(tokens)  # is it complete?
        return load_tokenizer_folder(tokens / TOKENIZER_FOLDER).vocab_size
    return recipe.vocab_size if recipe.tokenizer is None else open_tokenizer(resolve(recipe.tokenizer)).vocab_size


def _require_no_other(recipe: DataRecipe, tokens: Path) -> None:
    if recipe.tokenizer is not None:
        raise ConfigError(
            f"{tokens}: holds tokens already, of its own tokenizer: leave out tokenizer {recipe.tokenizer}"
        )


def _write_tokens(
    files: Sequence[str],
    recipe: DataRecipe,
    folder: Path,
    bad: BadRecords,
    on_progress: Callable[[PrepareReport], None],
) -> None:
    if recipe.tokenizer is not None:
        tokenizer = open_tokenizer(resolve(recipe.tokenizer))
    else:
        uncounted = BadRecords(skip=recipe.skip_bad)  # the same records as in the second reading below
        texts = (document.text for document in read_documents(files, field=recipe.field, on_bad=uncounted.on_bad))
        tokenizer = train_tokenizer(texts, vocab_size=recipe.vocab_size, kind=recipe.tokenizer_kind)
    prepare_corpus(files, tokenizer, folder, field=recipe.field, on_bad=bad.on_bad, on_progress=on_progress)


def pretraining(
    corpus: Corpus, recipe: PretrainRecipe, *, folder: Path, callbacks: Callbacks, processes: Processes = ALONE
) -> Trainer:
    """Make a trainer over the corpus, from initial weights or from the checkpoint in `folder`.

    Raises as `Trainer`.
    """
    config = recipe.model.config(vocab_size=corpus.tokenizer.vocab_size, context=recipe.data.context)
    source = PretrainingSource(
        corpus.training,
        batch_size=processes.local_batch_size(recipe.data.batch_size),
        seq_len=recipe.data.context,
        seed=recipe.run.seed,
        rank=processes.rank,
        num_ranks=processes.world_size,
    )
    model = initial_transformer(config, seed=recipe.run.seed)
    return Trainer(model, source, recipe.run, folder=folder, callbacks=callbacks, processes=processes)
