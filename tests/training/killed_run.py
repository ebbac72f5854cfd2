"""A tiny run for a test to kill in a process of its own, to which a function must be given by its module's name."""

from __future__ import annotations

import resource
from pathlib import Path

from nextword.training.callbacks import Callbacks
from nextword.training.recipe import CheckpointRecipe, ComputeRecipe, Recipe
from nextword.training.trainer import Trainer
from tests.training.tiny import TextBatches, tiny_transformer

RECIPE = Recipe(
    steps=150,
    compute=ComputeRecipe(precision="bfloat16", ema=0.9, accumulation=2, threads=1),
    checkpointing=CheckpointRecipe(save_every=1),  # so that most kills come while something is being saved
)


def run(folder: Path) -> Trainer:
    """Train to the end, from the last checkpoint in the folder if there is one."""
    trainer = Trainer(tiny_transformer(), TextBatches(), RECIPE, folder=folder, callbacks=Callbacks())
    trainer.run()
    return trainer


def run_with_small_files(folder: Path) -> None:
    """Train to the end where the system refuses to write files of more than 4 KB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    run(folder)
