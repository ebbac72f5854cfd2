"""`pretrain`: files of text in, a prepared run that trains a model from random weights, with its tokenizer, out.

Importing this needs no PyTorch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from nextword.checks import checked_arguments
from nextword.extras import needs_extra
from nextword.training.options import with_options
from nextword.training.pretrain_recipe import DEFAULT_PRETRAIN_RECIPE, PretrainRecipe
from nextword.workflows.paths import FilePath, Files, list_files
from nextword.workflows.training_hooks import documents_loss, max_validation_tokens, sample_text
from nextword.workflows.training_options import PretrainOptions
from nextword.workflows.training_run import Listeners, RunSetup, TrainingRun, ignore, note_bad

if TYPE_CHECKING:
    from nextword.data.prepare import PrepareReport
    from nextword.models.config import ModelConfig
    from nextword.models.transformer import Transformer
    from nextword.training.callbacks import StepReport
    from nextword.training.plan import Plan
    from nextword.training.pretrain import Corpus
    from nextword.training.processes import Processes

__all__ = ["DEFAULT_PRETRAIN_RECIPE", "PretrainRecipe", "plan_pretrain", "pretrain"]


@checked_arguments
def pretrain(
    files: Files,
    *,
    output: FilePath | None = None,
    prompt: str = "\n",
    recipe: PretrainRecipe = DEFAULT_PRETRAIN_RECIPE,
    on_step: Callable[[StepReport], None] = ignore,
    on_note: Callable[[str], None] = ignore,
    on_sample: Callable[[int, str], None] = ignore,
    on_progress: Callable[[PrepareReport], None] = ignore,
    **options: Unpack[PretrainOptions],
) -> TrainingRun:
    """Prepare the training of a new model on a corpus, or on a folder that `prepare` wrote.

    `output`: folder of the run, by default named after the first file; a run that was stopped there resumes. `prompt`:
    what the sample texts continue. `on_step`, `on_note` and `on_sample` are called in training, as `Listeners` says,
    `on_progress` while the corpus is tokenized. Other keywords are settings, which replace those of `recipe`:
    hidden_size, num_layers, num_heads, num_kv_heads, intermediate_size; context, batch_size, tokenizer, tokenizer_kind,
    vocab_size, validation, field, skip_bad; steps, seed; optimizer, lr, weight_decay,
    beta1, beta2, eps, momentum, max_grad_norm; schedule, warmup, decay, final_lr; precision, accumulation, z_loss,
    gradient_checkpointing, ema, freeze, threads, parallel; save_every, validate_every, sample_every, patience,
    max_skipped. Trains nothing yet: see `TrainingRun`. Raises RequestError, ConfigError, DataError, CheckpointError,
    TokenizerError, and MissingExtraError without PyTorch.
    """
    names, chosen = list_files(files), with_options(recipe, options)
    listeners = Listeners(on_step=on_step, on_note=on_note, on_sample=on_sample)
    return _prepare(names, chosen, _folder(names[0], output), prompt, listeners, on_progress)


@checked_arguments
def plan_pretrain(
    files: Files, *, recipe: PretrainRecipe = DEFAULT_PRETRAIN_RECIPE, **options: Unpack[PretrainOptions]
) -> Plan:
    """Estimate parameters, memory and time of a run of `pretrain`, without reading the corpus. Raises as `pretrain`."""
    with needs_extra("train"):
        from nextword.training.pretrain import likely_vocab_size
    recipe = with_options(recipe, options)
    return _plan(recipe, vocab_size=likely_vocab_size(list_files(files), recipe.data))


def _prepare(
    names: list[str],
    recipe: PretrainRecipe,
    folder: Path,
    prompt: str,
    listeners: Listeners,
    on_progress: Callable[[PrepareReport], None],
) -> TrainingRun:
    """Tokenize the corpus and build the model, or resume it."""
    with needs_extra("train"):
        from nextword.training.pretrain import prepare_pretraining, pretraining
        from nextword.training.processes import join_processes, lost_processes_named
    processes = join_processes()
    with lost_processes_named():
        corpus = prepare_pretraining(names, recipe, folder=folder, on_progress=on_progress, processes=processes)
        _note_corpus(corpus, recipe, listeners.on_note if processes.is_rank_zero else ignore)
        return TrainingRun(
            lambda callbacks: pretraining(corpus, recipe, folder=folder, callbacks=callbacks, processes=processes),
            _setup(names, folder, prompt, corpus, recipe, listeners, processes),
        )


def _plan(recipe: PretrainRecipe, *, vocab_size: int) -> Plan:
    from nextword.training.plan_run import plan_run

    config = recipe.model.config(vocab_size=vocab_size, context=recipe.data.context)
    return plan_run(config, recipe.run, batch_size=recipe.data.batch_size, row_length=recipe.data.context)


def _folder(first: str, output: FilePath | None) -> Path:
    """Return the folder asked for, or one of the first file's name; a folder that is read is not written to."""
    path = Path(first)
    return Path(output or (f"{path.name}-run" if path.is_dir() else path.stem))


def _setup(
    names: list[str],
    folder: Path,
    prompt: str,
    corpus: Corpus,
    recipe: PretrainRecipe,
    listeners: Listeners,
    processes: Processes,
) -> RunSetup:
    from nextword.inference.engine import Engine
    from nextword.inference.torch_backend import TorchBackend
    from nextword.training.model_output import export_model

    tokenizer, documents, data = corpus.tokenizer, corpus.validation.documents(), recipe.data
    max_tokens = max_validation_tokens(recipe.run.checkpointing, tokens_per_step=data.batch_size * data.context)
    limits = {"context": data.context, "max_tokens": max_tokens}
    prompt_token_ids = tokenizer.encode_prompt(prompt)

    def engine_of(model: Transformer) -> Engine:
        return Engine(TorchBackend(model), tokenizer)

    return RunSetup(
        folder=folder,
        title=f"Pretraining on {', '.join(names)}",
        prompt=prompt,
        settings=dataclasses.asdict(recipe),
        validate=(lambda model: documents_loss(documents, engine_of(model), **limits)) if documents else None,
        sample=lambda model: sample_text(prompt_token_ids, engine_of(model)),
        export=functools.partial(export_model, config=_config(corpus, recipe), tokenizer=tokenizer),
        make_plan=lambda: _plan(recipe, vocab_size=tokenizer.vocab_size),
        bad=corpus.bad,
        listeners=listeners,
        processes=processes,
    )


def _config(corpus: Corpus, recipe: PretrainRecipe) -> ModelConfig:
    return recipe.model.config(vocab_size=corpus.tokenizer.vocab_size, context=recipe.data.context)


def _note_corpus(corpus: Corpus, recipe: PretrainRecipe, note: Callable[[str], None]) -> None:
    from nextword.models.weights import weight_shapes

    config = _config(corpus, recipe)
    num_weights = sum(math.prod(shape) for shape in weight_shapes(config).values())
    seen = recipe.run.steps * recipe.data.batch_size * recipe.run.compute.accumulation * recipe.data.context
    note_bad(corpus.bad, note)
    note(
        f"{corpus.training.num_tokens:,} tokens to train on, {corpus.validation.num_tokens:,} held out; "
        f"a vocabulary of {config.vocab_size:,}"
    )
    note(
        f"a model of {num_weights:,} parameters; it will see every token {seen / corpus.training.num_tokens:.1f} times"
    )
