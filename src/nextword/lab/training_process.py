"""The process in which the lab trains its tiny model: settings on standard input, events as lines of JSON out.

A process of its own, so that its threads and its memory are none of the server's, and that ending it ends the training.
It ends itself with a checkpoint when the server says so, and with its files when the server is gone.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextword.errors import NextwordError
from nextword.training.callbacks import StepReport
from nextword.training.pretrain_recipe import DataRecipe, ModelShape, PretrainRecipe
from nextword.training.recipe import CheckpointRecipe, ComputeRecipe, OptimizerRecipe, Recipe
from nextword.workflows.pretrain import pretrain
from nextword.workflows.training_run import TrainingRun

TEXT, RUN = "text.txt", "run"
"""Names in the folder of a training: the text, and the folder of the run."""
STOP = b"stop\n"
"""Line of the input that ends the training so that it can go on."""
_EVERY = 50
"""Steps between validations, and between sample texts."""


def main() -> None:
    """Train as the first line of standard input says, a run in the named folder or the rest of one."""
    settings = json.loads(sys.stdin.readline())
    folder, is_alone = Path(settings["folder"]), threading.Event()
    threading.Thread(target=_end_with_input, args=(is_alone,), daemon=True).start()
    try:
        _train(folder, settings)
    except KeyboardInterrupt:
        _tell({"kind": "end", "state": "stopped"})
    except NextwordError as error:
        _tell({"kind": "end", "state": "failed", "message": str(error)})
    except BrokenPipeError:
        is_alone.set()
    finally:
        if is_alone.is_set():
            shutil.rmtree(folder, ignore_errors=True)


def _train(folder: Path, settings: Mapping[str, Any]) -> None:
    recipe = _recipe(settings)
    run = pretrain(
        [folder / TEXT],
        output=folder / RUN,
        recipe=recipe,
        on_step=lambda report: _tell_step(report),
        on_sample=lambda step, text: _tell({"kind": "sample", "step": step, "text": text}),
    )
    if run.step == 0:
        _tell(_beginning(folder, recipe))
    told = _tell_validations(run, 0) if run.step == 0 else len(run.metrics)
    for _ in run.steps():
        told = _tell_validations(run, told)
    _tell({"kind": "end", "state": "finished"})


def _recipe(settings: Mapping[str, Any]) -> PretrainRecipe:
    """Return a recipe that learns to spell within a minute on two cores."""
    return PretrainRecipe(
        model=ModelShape(hidden_size=96, num_layers=3, num_heads=4),
        data=DataRecipe(tokenizer_kind="characters", context=64, batch_size=16),
        run=Recipe(
            steps=settings["steps"],
            seed=settings["seed"],
            optimization=OptimizerRecipe(lr=settings["lr"]),
            compute=ComputeRecipe(precision="float32", threads=max((os.cpu_count() or 1) - 1, 1)),
            checkpointing=CheckpointRecipe(save_every=0, validate_every=_EVERY, sample_every=_EVERY),
        ),
    )


def _beginning(folder: Path, recipe: PretrainRecipe) -> dict[str, Any]:
    from nextword.checkpoints.open_directory import open_tokenizer
    from nextword.data.prepare import TOKENIZER_FOLDER
    from nextword.models.weights import weight_shapes

    vocab_size = open_tokenizer(folder / RUN / "tokens" / TOKENIZER_FOLDER).vocab_size
    config = recipe.model.config(vocab_size=vocab_size, context=recipe.data.context)
    num_parameters = sum(math.prod(shape) for shape in weight_shapes(config).values())
    return {
        "kind": "begin",
        "num_parameters": num_parameters,
        "vocab_size": vocab_size,
        "num_steps": recipe.run.steps,
    }


def _tell_step(report: StepReport) -> None:
    figures = {"step": report.step, "loss": report.loss, "lr": report.lr, "tokens_per_second": report.tokens_per_second}
    if math.isfinite(report.loss):
        _tell({"kind": "step", **figures})


def _tell_validations(run: TrainingRun, told: int) -> int:
    """Tell of the validations after the first `told` entries of the metrics; return the number of entries."""
    entries = run.metrics
    for entry in entries[told:]:
        if "validation_loss" in entry:
            _tell({"kind": "validation", "step": entry["step"], "loss": entry["validation_loss"]})
    return len(entries)


def _tell(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _end_with_input(is_alone: threading.Event) -> None:
    """Interrupt the training, as Ctrl-C would, once the server says so or is gone."""
    if sys.stdin.readline() != STOP.decode():
        is_alone.set()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
