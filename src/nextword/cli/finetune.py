"""`nextword finetune`: a model and files of text or chats in, the model that went on learning out."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nextword.adapters.spec import AdapterSpec
from nextword.cli.corpus import OutputArgument
from nextword.cli.extras import needs_extra
from nextword.cli.report import count, note
from nextword.cli.sources import ModelArgument
from nextword.cli.training_progress import TrainingProgress
from nextword.errors import DataError
from nextword.training.finetune_recipe import DEFAULT_FINETUNE_RECIPE, FinetuneRecipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from nextword.checkpoints.model_directory import ModelDirectory
    from nextword.training.finetune import FinetuningData
    from nextword.training.processes import Processes


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a model further: nextword finetune smollm2-135m --data chats.jsonl -o tuned. A recipe.yaml gives options.

    The folder gets the model, and what a stopped run needs to go on: the same command does so.
    """

    model: ModelArgument
    data: tuple[str, ...]
    """Files and folders: chats as .jsonl, .json, .parquet; with --on text the same and .txt, .md."""
    output: OutputArgument
    """Folder of the run; its subfolder model is what to open."""
    method: Literal["full", "lora", "dora", "ia3"] = "full"
    """full: every weight is trained; else an adapter, the model itself stays as it is. Adapters learn at --lr 1e-3."""
    rank: int = AdapterSpec.rank
    """Of LoRA and DoRA: rows of the thin matrices."""
    alpha: float = AdapterSpec.alpha
    """Of LoRA and DoRA: the update counts alpha / rank times."""
    targets: tuple[str, ...] = ()
    """Linear maps to adapt, such as q_proj v_proj; none named: the usual ones of the method."""
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
        from nextword.training.finetune import finetuning, mean_nats, prepare_finetuning
        from nextword.training.trainer import Callbacks

    if not options.data:
        raise DataError("no --data: name files or folders")
    folder, recipe, adapter = Path(options.output), options.recipe, _adapter(options)
    directory = open_model_directory(resolve(options.model))
    data = prepare_finetuning(options.data, directory, recipe, folder=folder, processes=processes)
    _note_examples(data, context=recipe.data.context)
    progress = TrainingProgress(recipe.run.steps)
    callbacks = Callbacks(
        on_step=progress.on_step,
        validate=functools.partial(mean_nats, data.validation) if data.validation else None,
        export=_exporter(options, directory, adapter),
        note=progress.note,
    )
    finetuning(directory, data, recipe, folder=folder, callbacks=callbacks, adapter=adapter, processes=processes).run()
    note(f"the model is {folder / 'model'}: nextword chat {folder / 'model'}")


def _adapter(options: Options) -> AdapterSpec | None:
    if options.method == "full":
        return None
    return AdapterSpec(method=options.method, rank=options.rank, alpha=options.alpha, targets=options.targets)


def _exporter(
    options: Options, directory: ModelDirectory, adapter: AdapterSpec | None
) -> Callable[[dict[str, Tensor], Path], None]:
    """What writes the model, or the adapter alone, which says by its path whose it is."""
    from nextword.adapters.attach import save_trained
    from nextword.checkpoints.catalogue import resolve
    from nextword.training.model_output import export_model

    if adapter is not None:
        path = resolve(options.model)
        base = str(path.resolve()) if Path(options.model).exists() else options.model
        return functools.partial(save_trained, spec=adapter, config=directory.config, base=base)
    return functools.partial(
        export_model,
        config=directory.config,
        tokenizer=directory.tokenizer,
        generation_defaults=directory.generation_defaults,
    )


def _note_examples(data: FinetuningData, *, context: int) -> None:
    report = data.examples
    if report is None:
        return
    note(f"{count(report.num_kept, 'chat')}, {report.num_targets:,} of {report.num_tokens:,} tokens carry loss")
    if report.num_too_long:
        left_out = count(report.num_too_long, "chat")
        note(f"{left_out} longer than {context} tokens left out; the longest has {report.longest}")
