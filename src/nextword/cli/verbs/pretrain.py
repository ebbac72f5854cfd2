"""`nextword pretrain`: files of text in, a model made of them out, with its tokenizer."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.arguments import CorpusArgument
from nextword.cli.console import is_rank_zero, note
from nextword.cli.training_progress import TrainingProgress
from nextword.workflows.pretrain import DEFAULT_PRETRAIN_RECIPE, PretrainRecipe, plan_pretrain, pretrain


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a model from random weights: nextword pretrain my-text.txt. A recipe.yaml among the files gives options.

    A folder that nextword prepare wrote can stand in place of a corpus. The folder of the run receives the model and
    checkpoints; the same command resumes a stopped run.
    """

    files: CorpusArgument
    output: Annotated[str | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    """Folder of the run; its subfolder model is what to open. None: named after the first file or folder."""
    prompt: str = "\n"
    """Text that the samples continue."""
    dry_run: bool = False
    """Print parameters, memory, steps and estimated time, and train nothing."""
    recipe: Annotated[PretrainRecipe, tyro.conf.OmitArgPrefixes] = DEFAULT_PRETRAIN_RECIPE


def run(options: Options) -> None:
    """Train, then print a text that the model generates."""
    if options.dry_run:
        print(plan_pretrain(options.files, recipe=options.recipe))
        return
    from nextword.cli.verbs.prepare import preparing  # imported here, since --help does not need it

    progress = TrainingProgress(options.recipe.run)
    with preparing() as show:
        trained = pretrain(
            options.files,
            output=options.output,
            prompt=options.prompt,
            recipe=options.recipe,
            on_step=progress.on_step,
            on_note=progress.note,
            on_sample=progress.on_sample,
            on_progress=show,
        )
    trained.train()
    if not is_rank_zero():
        return
    note(f"the model is {trained.model_folder}, and generates:")
    for piece in trained.load().stream(options.prompt, max_tokens=120, temperature=0.8, seed=0):
        print(piece, end="", flush=True)
    print()
    note(f'more: nextword generate {trained.model_folder} "..."')
