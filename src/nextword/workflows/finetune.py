"""`finetune`: a pretrained model and files of chats or text in, a prepared run that trains it further out.

Importing this needs no PyTorch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, Unpack

from nextword.adapters.spec import AdapterSpec, PromptSpec
from nextword.atomic_file import write_atomically
from nextword.checks import checked_arguments
from nextword.errors import ConfigError
from nextword.extras import needs_extra
from nextword.plain_text import count
from nextword.text.choose_template import TEMPLATE_NAME
from nextword.text.named_templates import with_chat_template
from nextword.training.finetune_recipe import DEFAULT_FINETUNE_RECIPE, FinetuneRecipe
from nextword.training.options import with_options
from nextword.workflows.paths import FilePath, Files, list_files, loaded_model
from nextword.workflows.training_hooks import answers_loss, documents_loss, max_validation_tokens, sample_text
from nextword.workflows.training_options import FinetuneOptions
from nextword.workflows.training_run import Listeners, RunSetup, TrainingRun, ignore, note_bad

if TYPE_CHECKING:
    from torch import Tensor

    from nextword.checkpoints.model_directory import ModelDirectory
    from nextword.data.supervised import ExamplesReport
    from nextword.inference.engine import Engine
    from nextword.language_model import LanguageModel
    from nextword.models.transformer import Transformer
    from nextword.text.tokenizer import Tokenizer
    from nextword.training.callbacks import StepReport
    from nextword.training.finetune import FinetuningData
    from nextword.training.plan import Plan
    from nextword.training.processes import Processes

__all__ = [
    "DEFAULT_FINETUNE_RECIPE",
    "AdapterSpec",
    "FinetuneMethod",
    "FinetuneRecipe",
    "PromptSpec",
    "finetune",
    "plan_finetune",
]

FinetuneMethod: TypeAlias = Literal["full", "lora", "dora", "ia3", "prompt"]
"""full: every weight is trained; else an adapter, and the model's own weights stay frozen."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Fine-tuning run with its settings resolved."""

    directory: ModelDirectory
    base: str
    """Name of the base model, which an adapter records."""
    method: FinetuneMethod
    adapter: AdapterSpec | PromptSpec | None
    recipe: FinetuneRecipe
    context: int
    folder: Path
    remark: str | None
    """Line for people on the chat template."""


@checked_arguments
def finetune(
    model: FilePath | LanguageModel,
    data: Files,
    *,
    output: FilePath,
    method: FinetuneMethod = "full",
    rank: int = AdapterSpec.rank,
    alpha: float = AdapterSpec.alpha,
    targets: Sequence[str] = (),
    virtual_tokens: int = PromptSpec.num_virtual_tokens,
    recipe: FinetuneRecipe = DEFAULT_FINETUNE_RECIPE,
    on_step: Callable[[StepReport], None] = ignore,
    on_note: Callable[[str], None] = ignore,
    on_sample: Callable[[int, str], None] = ignore,
    **options: Unpack[FinetuneOptions],
) -> TrainingRun:
    """Prepare the training of all weights of a model, or of an adapter for it, on chats or text.

    `model`: a name, a folder, a .gguf file, or a loaded model. `output`: folder of the run; a run that was stopped
    there resumes. `rank`, `alpha` and `targets` belong to adapters, `virtual_tokens` to method "prompt". `on_step`,
    `on_note` and `on_sample` are called in training, as `Listeners` says. Other keywords are settings, which replace
    those of `recipe`: on ("chats" or "text"), context, batch_size, validation, field, user, answer, chat_template,
    skip_bad; steps, seed;
    optimizer, lr, weight_decay, beta1, beta2, eps, momentum, max_grad_norm; schedule, warmup, decay, final_lr;
    precision, accumulation, z_loss, gradient_checkpointing, ema, freeze, threads, parallel; save_every, validate_every,
    sample_every, patience, max_skipped. Trains nothing yet: see `TrainingRun`. Raises RequestError, ConfigError,
    DataError, CheckpointError, and MissingExtraError without PyTorch.
    """
    adapter = _adapter(method, rank=rank, alpha=alpha, targets=targets, virtual_tokens=virtual_tokens)
    job = _job(model, method, adapter, with_options(recipe, options), Path(output))
    return _prepare(job, list_files(data), Listeners(on_step=on_step, on_note=on_note, on_sample=on_sample))


@checked_arguments
def plan_finetune(
    model: FilePath | LanguageModel,
    *,
    method: FinetuneMethod = "full",
    rank: int = AdapterSpec.rank,
    alpha: float = AdapterSpec.alpha,
    targets: Sequence[str] = (),
    virtual_tokens: int = PromptSpec.num_virtual_tokens,
    recipe: FinetuneRecipe = DEFAULT_FINETUNE_RECIPE,
    **options: Unpack[FinetuneOptions],
) -> Plan:
    """Estimate parameters, memory and time of a run of `finetune`; no data are read. Raises as `finetune`."""
    adapter = _adapter(method, rank=rank, alpha=alpha, targets=targets, virtual_tokens=virtual_tokens)
    return _plan(_job(model, method, adapter, with_options(recipe, options), Path()))


def _prepare(job: _Job, names: Sequence[str], listeners: Listeners) -> TrainingRun:
    """Read the data and build the model, or resume it."""
    with needs_extra("train"):
        from nextword.training.finetune import finetuning, prepare_finetuning
        from nextword.training.processes import join_processes, lost_processes_named
    processes = join_processes()
    directory, recipe, folder, adapter = job.directory, job.recipe, job.folder, job.adapter
    with lost_processes_named():
        data = prepare_finetuning(names, directory, recipe, folder=folder, adapter=adapter, processes=processes)
        _note_data(data, job, listeners.on_note if processes.is_rank_zero else ignore)
        return TrainingRun(
            lambda callbacks: finetuning(
                directory, data, recipe, folder=folder, callbacks=callbacks, adapter=adapter, processes=processes
            ),
            _setup(job, names, data, listeners, processes),
        )


def _adapter(
    method: FinetuneMethod, *, rank: int, alpha: float, targets: Sequence[str], virtual_tokens: int
) -> AdapterSpec | PromptSpec | None:
    if method == "full":
        return None
    if method == "prompt":
        return PromptSpec(num_virtual_tokens=virtual_tokens)
    return AdapterSpec(method=method, rank=rank, alpha=alpha, targets=tuple(targets))


def _job(
    model: FilePath | LanguageModel,
    method: FinetuneMethod,
    adapter: AdapterSpec | PromptSpec | None,
    recipe: FinetuneRecipe,
    folder: Path,
) -> _Job:
    with needs_extra("train"):
        import nextword.training.finetune  # noqa: F401  # before the model is opened: nothing runs without PyTorch
    directory, base = _open(model)
    remark = None
    if recipe.data.chat_template is not None:
        tokenizer, remark = with_chat_template(directory.tokenizer, recipe.data.chat_template)
        directory = dataclasses.replace(directory, load_tokenizer=lambda: tokenizer)
    if adapter is not None and (directory.adapter is not None or directory.num_virtual_tokens):
        raise ConfigError(f"{base}: an adapter is merged into the model that was given; train another one on its base")
    context = recipe.data.row_length(directory.config.max_seq_len)
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, context=context))
    return _Job(
        directory=directory,
        base=base,
        method=method,
        adapter=adapter,
        recipe=recipe,
        context=context,
        folder=folder,
        remark=remark,
    )


def _open(model: FilePath | LanguageModel) -> tuple[ModelDirectory, str]:
    """Return the model on disk, and the name to open it by."""
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_model_directory

    opened = loaded_model(model)
    if opened is None:
        name = str(model)
        path = resolve(name)
        return open_model_directory(path), str(path.resolve()) if Path(name).exists() else name
    return opened.directory, str(opened.directory.path.resolve())


def _setup(
    job: _Job, names: Sequence[str], data: FinetuningData, listeners: Listeners, processes: Processes
) -> RunSetup:
    tokenizer, settings = job.directory.tokenizer, {} if job.adapter is None else vars(job.adapter)
    return RunSetup(
        folder=job.folder,
        title=f"Fine-tuning {job.base} on {', '.join(names)}",
        prompt=tokenizer.decode(list(data.sample_prompt), skip_special_tokens=False),
        settings={"method": job.method, **settings, **dataclasses.asdict(job.recipe)},
        validate=_validation(job, data),
        sample=lambda model: sample_text(data.sample_prompt, _engine(job, model)),
        export=_exporter(job),
        make_plan=lambda: _plan(job),
        bad=data.bad,
        listeners=listeners,
        processes=processes,
    )


def _validation(job: _Job, data: FinetuningData) -> Callable[[Transformer], float] | None:
    """Return the validation loss as a function of the model; None if nothing is held out."""
    rows = job.recipe.data.batch_size
    max_tokens = max_validation_tokens(job.recipe.run.checkpointing, tokens_per_step=rows * job.context)
    if data.held_out_texts:
        return lambda model: documents_loss(
            data.held_out_texts, _engine(job, model), context=job.context, max_tokens=max_tokens
        )
    if data.held_out_chats:
        return lambda model: answers_loss(data.held_out_chats, _engine(job, model), max_tokens=max_tokens)
    return None


def _engine(job: _Job, model: Transformer) -> Engine:
    from nextword.inference.engine import Engine
    from nextword.inference.longrope_backend import rotate_by_length
    from nextword.inference.prompted_backend import PromptedBackend
    from nextword.inference.torch_backend import TorchBackend

    backend = rotate_by_length(TorchBackend(model), model.config)
    if not isinstance(job.adapter, PromptSpec):
        return Engine(backend, job.directory.tokenizer)
    num_words, num_virtual_tokens = job.directory.config.vocab_size, job.adapter.num_virtual_tokens
    prompted = PromptedBackend(backend, vocab_size=num_words, num_virtual_tokens=num_virtual_tokens)
    return Engine(prompted, job.directory.tokenizer)


def _exporter(job: _Job) -> Callable[[dict[str, Tensor], Path], None]:
    """Return the function that writes the model, or the adapter alone with the name of its base model."""
    from nextword.adapters.attach import save_trained
    from nextword.adapters.attach_prompt import save_trained_prompt
    from nextword.checkpoints.save_directory import require_savable
    from nextword.training.model_output import export_model

    directory = job.directory
    if isinstance(job.adapter, AdapterSpec):
        return _with_template(
            job, functools.partial(save_trained, spec=job.adapter, config=directory.config, base=job.base)
        )
    if job.adapter is not None:
        return _with_template(job, functools.partial(save_trained_prompt, config=directory.config, base=job.base))
    tokenizer = _trained_tokenizer(job)
    require_savable(tokenizer)
    return functools.partial(
        export_model,
        config=directory.config,
        tokenizer=tokenizer,
        generation_defaults=directory.generation_defaults,
    )


def _trained_tokenizer(job: _Job) -> Tokenizer:
    """Return the tokenizer to save: after chats it ends at the token that was learned as the end of an answer."""
    tokenizer = job.directory.tokenizer
    return tokenizer.ending_at(tokenizer.turn_end_ids()) if job.recipe.data.on == "chats" else tokenizer


def _with_template(
    job: _Job, save: Callable[[dict[str, Tensor], Path], None]
) -> Callable[[dict[str, Tensor], Path], None]:
    """Return a function that also writes the chat template, if it is not the base model's."""
    template = job.directory.tokenizer.chat_template
    if job.recipe.data.chat_template is None or template is None:
        return save

    def save_both(tensors: dict[str, Tensor], path: Path) -> None:
        save(tensors, path)
        with write_atomically(path / TEMPLATE_NAME) as out:
            out.write(template.encode())

    return save_both


def _plan(job: _Job) -> Plan:
    with needs_extra("train"):
        from nextword.adapters.method import num_adapter_weights
        from nextword.training.plan_run import plan_run

    config = job.directory.config
    if isinstance(job.adapter, AdapterSpec):
        trained: int | None = num_adapter_weights(config, job.adapter)
    else:
        trained = None if job.adapter is None else job.adapter.num_virtual_tokens * config.hidden_size
    return plan_run(
        config,
        job.recipe.run,
        batch_size=job.recipe.data.batch_size,
        row_length=job.context,
        num_adapter_weights=trained,
    )


def _note_data(data: FinetuningData, job: _Job, note: Callable[[str], None]) -> None:
    if job.remark is not None:
        note(job.remark)
    note_bad(data.bad, note)
    if data.report is not None:
        _note_examples(data.report, job, note)


def _note_examples(report: ExamplesReport, job: _Job, note: Callable[[str], None]) -> None:
    num_examples = report.num_kept + report.num_too_long
    chats = count(report.num_kept, "chat")
    if num_examples > report.num_read:
        chats = f"{count(report.num_kept, 'example')} of {count(report.num_read, 'chat')}, as the template shows them"
    note(f"{chats}, {report.num_targets:,} of {report.num_tokens:,} tokens carry loss")
    if report.num_too_long:
        left_out = count(report.num_too_long, "chat" if num_examples == report.num_read else "example")
        note(f"{left_out} longer than {job.context} tokens left out; the longest has {report.longest}")
    if report.unused:
        note(f"fields of records that are not used: {', '.join(report.unused)}")
