"""`nextword finetune`: a model and files of text or chats in, the model that went on learning out."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nextword.adapters.spec import AdapterSpec, PromptSpec
from nextword.cli.arguments import ModelArgument, OutputArgument
from nextword.cli.console import count, note
from nextword.cli.training_output import Looks, train
from nextword.cli.training_plan import print_plan
from nextword.errors import DataError
from nextword.extras import needs_extra
from nextword.training.finetune_recipe import DEFAULT_FINETUNE_RECIPE, FinetuneRecipe
from nextword.workflows.training_hooks import answers_loss, documents_loss, most_tokens, written_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from nextword.checkpoints.model_directory import ModelDirectory
    from nextword.inference.backend import Backend
    from nextword.models.transformer import Transformer
    from nextword.training.finetune import FinetuningData
    from nextword.training.processes import Processes


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a model further: nextword finetune smollm2-135m --data chats.jsonl -o tuned. A recipe.yaml gives options.

    The folder gets the model, and what a stopped run needs to go on: the same command does so.
    """

    model: ModelArgument
    data: tuple[str, ...]
    """Files and folders: chats as .jsonl, .json, .parquet; with --on text also .txt, .md, or prepared tokens."""
    output: OutputArgument
    """Folder of the run; its subfolder model is what to open."""
    method: Literal["full", "lora", "dora", "ia3", "prompt"] = "full"
    """full: every weight is trained; else an adapter, the model itself stays as it is. Adapters learn at --lr 1e-3."""
    rank: int = AdapterSpec.rank
    """Of LoRA and DoRA: rows of the thin matrices."""
    alpha: float = AdapterSpec.alpha
    """Of LoRA and DoRA: the update counts alpha / rank times."""
    targets: tuple[str, ...] = ()
    """Linear maps to adapt, such as q_proj v_proj; none named: the usual ones of the method."""
    virtual_tokens: int = 20
    """Of a prompt: trained vectors that stand before every text."""
    dry_run: bool = False
    """Say what would be trained, in which memory and time, and end."""
    recipe: Annotated[FinetuneRecipe, tyro.conf.OmitArgPrefixes] = DEFAULT_FINETUNE_RECIPE


def run(options: Options) -> None:
    """Train, and say where the model is."""
    with needs_extra("train"):
        from nextword.training.processes import joined_processes

    with joined_processes() as processes:
        _run(options, processes)


def _run(options: Options, processes: Processes) -> None:
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_model_directory

    with needs_extra("train"):
        from nextword.training.finetune import finetuning, prepare_finetuning

    if not options.data:
        raise DataError("no --data: name files or folders")
    folder, recipe, adapter = Path(options.output), options.recipe, _adapter(options)
    directory = open_model_directory(resolve(options.model))
    if options.dry_run:
        _print_plan(directory, recipe, adapter)
        return
    data = prepare_finetuning(options.data, directory, recipe, folder=folder, adapter=adapter, processes=processes)
    _note_examples(data, context=recipe.data.context)
    train(
        lambda callbacks: finetuning(
            directory, data, recipe, folder=folder, callbacks=callbacks, adapter=adapter, processes=processes
        ),
        _looks(options, directory, data, adapter),
        folder=folder,
        num_steps=recipe.run.steps,
        title=f"Fine-tuning {options.model} on {', '.join(options.data)}",
        settings={"method": options.method, **({} if adapter is None else vars(adapter)), **dataclasses.asdict(recipe)},
    )
    note(f"the {'model' if adapter is None else 'adapter'} is {folder / 'model'}: nextword chat {folder / 'model'}")


def _adapter(options: Options) -> AdapterSpec | PromptSpec | None:
    if options.method == "full":
        return None
    if options.method == "prompt":
        return PromptSpec(num_virtual_tokens=options.virtual_tokens)
    return AdapterSpec(method=options.method, rank=options.rank, alpha=options.alpha, targets=options.targets)


def _looks(
    options: Options, directory: ModelDirectory, data: FinetuningData, adapter: AdapterSpec | PromptSpec | None
) -> Looks:
    backend_of = functools.partial(_backend, directory.config.vocab_size, adapter)
    recipe = options.recipe
    most = most_tokens(recipe.run.checkpointing, tokens_per_step=recipe.data.batch_size * recipe.data.context)
    validate: Callable[[Transformer], float] | None = None
    if data.held_out_texts:
        validate = lambda model: documents_loss(  # noqa: E731
            data.held_out_texts, backend_of(model), context=recipe.data.context, most_tokens=most
        )
    elif data.held_out_chats:
        validate = lambda model: answers_loss(data.held_out_chats, backend_of(model), most_tokens=most)  # noqa: E731
    return Looks(
        validate=validate,
        sample=lambda model: written_text(data.sample_prompt, directory.tokenizer, backend_of(model)),
        export=_exporter(options, directory, adapter),
        prompt=directory.tokenizer.decode(list(data.sample_prompt), skip_special_tokens=False),
        shows_samples=options.recipe.run.checkpointing.sample_every > 0,
    )


def _backend(vocab_size: int, adapter: AdapterSpec | PromptSpec | None, model: Transformer) -> Backend:
    from nextword.inference.longrope_backend import rotate_by_length
    from nextword.inference.prompted_backend import PromptedBackend
    from nextword.inference.torch_backend import TorchBackend

    backend = rotate_by_length(TorchBackend(model), model.config)
    if not isinstance(adapter, PromptSpec):
        return backend
    return PromptedBackend(backend, vocab_size=vocab_size, num_virtual_tokens=adapter.num_virtual_tokens)


def _exporter(
    options: Options, directory: ModelDirectory, adapter: AdapterSpec | PromptSpec | None
) -> Callable[[dict[str, Tensor], Path], None]:
    """What writes the model, or the adapter alone, which says by its path whose it is."""
    from nextword.adapters.attach import save_trained
    from nextword.adapters.attach_prompt import save_trained_prompt
    from nextword.checkpoints.catalogue import resolve
    from nextword.training.model_output import export_model

    base = str(resolve(options.model).resolve()) if Path(options.model).exists() else options.model
    if isinstance(adapter, AdapterSpec):
        return functools.partial(save_trained, spec=adapter, config=directory.config, base=base)
    if adapter is not None:
        return functools.partial(save_trained_prompt, config=directory.config, base=base)
    return functools.partial(
        export_model,
        config=directory.config,
        tokenizer=directory.tokenizer,
        generation_defaults=directory.generation_defaults,
    )


def _print_plan(directory: ModelDirectory, recipe: FinetuneRecipe, adapter: AdapterSpec | PromptSpec | None) -> None:
    from nextword.adapters.method import num_adapter_weights
    from nextword.training.plan import plan_run

    if isinstance(adapter, AdapterSpec):
        trained: int | None = num_adapter_weights(directory.config, adapter)
    else:
        trained = None if adapter is None else adapter.num_virtual_tokens * directory.config.hidden_size
    data = recipe.data
    plan = plan_run(
        directory.config,
        recipe.run,
        batch_size=data.batch_size,
        row_length=data.context,
        num_adapter_weights=trained,
    )
    print_plan(plan)


def _note_examples(data: FinetuningData, *, context: int) -> None:
    report = data.report
    if report is None:
        return
    note(f"{count(report.num_kept, 'chat')}, {report.num_targets:,} of {report.num_tokens:,} tokens carry loss")
    if report.num_too_long:
        left_out = count(report.num_too_long, "chat")
        note(f"{left_out} longer than {context} tokens left out; the longest has {report.longest}")
