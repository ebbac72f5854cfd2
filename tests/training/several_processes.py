"""What several processes do in the tests of them: `torchrun --nproc-per-node 2 -m tests.training.several_processes`.

Starting Python and torch takes seconds, so that one launch does many runs. Each has a folder of its own; what has to be
known of it besides the files is in `outcome.json` there.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nextword.adapters.attach import attach
from nextword.adapters.spec import AdapterSpec
from nextword.data.batch import Batch
from nextword.errors import DataError
from nextword.training.callbacks import Callbacks
from nextword.training.processes import Processes, join_processes, lost_processes_named
from nextword.training.recipe import CheckpointRecipe, ComputeRecipe, OptimizerRecipe, Recipe
from nextword.training.trainer import Trainer
from tests.training.tiny import TextBatches, tiny_transformer

PLAIN = Recipe(
    steps=6,
    # eps: AdamW makes a step of any gradient, also of one that is all rounding.
    optimization=OptimizerRecipe(lr=0.01, max_grad_norm=0.5, eps=1e-4),
    compute=ComputeRecipe(precision="float32", accumulation=2, ema=0.5, z_loss=0.01, threads=1),
    checkpointing=CheckpointRecipe(validate_every=2),
)


def _variant(**compute: Any) -> Recipe:
    return dataclasses.replace(PLAIN, compute=dataclasses.replace(PLAIN.compute, **compute))


MUON = dataclasses.replace(PLAIN, optimization=OptimizerRecipe(lr=0.01, eps=1e-4, optimizer="muon"))
RUNS = {
    "plain": PLAIN,
    "muon": MUON,
    "bfloat16": _variant(precision="bfloat16"),
    "frozen": _variant(freeze=("embedding.weight", "layers.0.*"), gradient_checkpointing=True),
    "lora": _variant(gradient_checkpointing=True),
    "dora": _variant(ema=0.0),
    "ia3": _variant(precision="bfloat16"),
}
"""Runs by name; those of an adapter have its name."""


class Watched(TextBatches):
    """Batches of which one lets something happen in the last process."""

    def __init__(self, processes: Processes, *, stop_at: int | None = None, fail_at: int | None = None) -> None:
        super().__init__(rows=4, slant=3, processes=processes)
        self._is_last = processes.rank == processes.world_size - 1
        self._stop_at, self._fail_at = stop_at, fail_at

    def next_batch(self) -> Batch:
        if self._is_last and self.number == self._stop_at:
            signal.raise_signal(signal.SIGTERM)
        if self._is_last and self.number == self._fail_at:
            raise DataError("the disk of one process is gone")
        return super().next_batch()


def train(name: str, folder: Path, processes: Processes, *, parallel: Any = "ddp", **events: int) -> Trainer:
    """Run one of RUNS to its end, or to where it is stopped."""
    recipe = RUNS[name]
    recipe = dataclasses.replace(recipe, compute=dataclasses.replace(recipe.compute, parallel=parallel))
    model = tiny_transformer()
    if name in ("lora", "dora", "ia3"):
        attach(model, AdapterSpec(method=name, rank=2))  # type: ignore[arg-type]
    said: list[str] = []
    source, callbacks = Watched(processes, **events), _callbacks(said)
    trainer = Trainer(model, source, recipe, folder=folder, callbacks=callbacks, processes=processes)
    is_interrupted = False
    try:
        trainer.run()
    except KeyboardInterrupt:
        is_interrupted = True
    outcome = {"said": said, "step": trainer.step, "is_interrupted": is_interrupted}
    (folder / f"outcome-{processes.rank}.json").write_text(json.dumps(outcome))
    return trainer


def _callbacks(said: list[str]) -> Callbacks:
    return Callbacks(
        validate=lambda model: float(model(torch.arange(8)[None]).logsumexp(-1).mean()),
        export=lambda tensors, path: save_file({k: v.contiguous() for k, v in tensors.items()}, f"{path}.safetensors"),
        note=said.append,
        on_step=lambda report: said.append(f"step {report.step}"),
    )


def main(folder: Path, what: str) -> None:
    processes = join_processes()
    with lost_processes_named():
        if what == "fail":
            train("plain", folder / "failed", processes, fail_at=5)
            return
        for parallel in ("ddp", "fsdp"):
            for name in RUNS:
                train(name, folder / f"{name}-{parallel}", processes, parallel=parallel)
            train("plain", folder / f"stopped-{parallel}", processes, parallel=parallel, stop_at=5)
            train("plain", folder / f"begun-alone-{parallel}", processes, parallel=parallel)
        train("plain", folder / "changed", processes, parallel="fsdp", stop_at=5)
        train("plain", folder / "changed", processes, parallel="ddp")
    processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
