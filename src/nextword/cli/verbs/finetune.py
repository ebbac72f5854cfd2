"""`nextword finetune`: a model and files of text or chats in, the model trained further out."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import tyro

from nextword.cli.arguments import ModelArgument, OutputArgument
from nextword.cli.console import note
from nextword.cli.training_progress import TrainingProgress
from nextword.workflows.finetune import (
    DEFAULT_FINETUNE_RECIPE,
    AdapterSpec,
    FinetuneMethod,
    FinetuneRecipe,
    PromptSpec,
    finetune,
    plan_finetune,
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a model further: nextword finetune smollm2-135m --data chats.jsonl -o tuned. A recipe.yaml gives options.

    The folder receives the model and checkpoints; the same command resumes a stopped run.
    """

    model: ModelArgument
    data: tuple[str, ...]
    """Files and folders: chats as .jsonl, .json, .parquet; with --on text also .txt, .md, or prepared tokens."""
    output: OutputArgument
    """Folder of the run; its subfolder model is what to open."""
    method: FinetuneMethod = "full"
    """full: train every weight; else train an adapter with the model frozen. Adapters need about --lr 1e-3."""
    rank: int = AdapterSpec.rank
    """Rank of the low-rank update of LoRA and DoRA."""
    alpha: float = AdapterSpec.alpha
    """LoRA and DoRA scale their update by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Linear layers to adapt, such as q_proj v_proj; by default those of the method's paper."""
    virtual_tokens: int = PromptSpec.num_virtual_tokens
    """Number of trained vectors of a prompt, which precede every text."""
    dry_run: bool = False
    """Print parameters, memory, steps and estimated time, and train nothing."""
    recipe: Annotated[FinetuneRecipe, tyro.conf.OmitArgPrefixes] = DEFAULT_FINETUNE_RECIPE


def run(options: Options) -> None:
    """Train, and print the path of the model."""
    adapter: dict[str, Any] = {
        name: getattr(options, name) for name in ("method", "rank", "alpha", "targets", "virtual_tokens")
    }
    if options.dry_run:
        print(plan_finetune(options.model, recipe=options.recipe, **adapter))
        return
    progress = TrainingProgress(options.recipe.run)
    trained = finetune(
        options.model,
        options.data,
        output=options.output,
        recipe=options.recipe,
        on_step=progress.on_step,
        on_note=progress.note,
        on_sample=progress.on_sample,
        **adapter,
    )
    trained.train()
    kind = "model" if options.method == "full" else "adapter"
    note(f"the {kind} is {trained.model_folder}: nextword chat {trained.model_folder}")
